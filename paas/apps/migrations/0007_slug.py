from django.db import migrations, models


def name_is_slug(apps, _schema_editor):
    apps.get_model("apps", "App").objects.update(slug=models.F("name"))


class Migration(migrations.Migration):
    dependencies = [("apps", "0006_buildpacks")]

    operations = [
        migrations.AddField("app", "slug", models.CharField(max_length=30, null=True)),
        migrations.RunPython(name_is_slug, migrations.RunPython.noop),
        migrations.AlterField("app", "slug", models.CharField(max_length=30, unique=True)),
    ]
