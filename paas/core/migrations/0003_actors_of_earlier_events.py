"""Events written before the log kept the actor's address would be shown and searched as the platform's own."""

from django.conf import settings
from django.db import migrations
from django.db.models import OuterRef, Subquery


def fill(apps, _schema_editor):
    event = apps.get_model("core", "AuditEvent")
    user = apps.get_model(settings.AUTH_USER_MODEL)
    email = Subquery(user.objects.filter(pk=OuterRef("actor")).values("email")[:1])
    event.objects.filter(actor_email="", actor__isnull=False).update(actor_email=email)
    for row in (
        event.objects.filter(text="").only("action", "app_name", "actor_email", "detail").iterator(chunk_size=1000)
    ):
        words = [row.action, row.app_name, row.actor_email, *map(str, row.detail.values())]
        event.objects.filter(pk=row.pk).update(text=" ".join(filter(None, words)).lower()[:4000])


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0002_people"),
        ("accounts", "0001_initial"),
    ]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop, elidable=True)]
