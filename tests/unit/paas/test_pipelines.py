"""Pipelines: who sees and changes them, what a promotion makes in other apps, and how it ends when something is wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from paas.apps.models import App, Role
from paas.apps.services import add_collaborator, destroy_app
from paas.core.models import AuditEvent
from paas.pipelines import selectors, services
from paas.pipelines.models import Coupling, Pipeline, Promotion, PromotionTarget
from paas.releases.models import Image, ReleaseKind
from paas.releases.retention import expired_images
from paas.releases.selectors import current_release, wished_release
from paas.releases.services import fail_release
from paas.wiring import replaced
from runtime.errors import BootFailed, Conflict, Forbidden, InvalidInput, NotFound
from runtime.images.values import Image as Made
from runtime.registry import Registry
from tests.factories import make_app, make_config, make_image, make_live, make_release, make_user
from tests.unit.runtime.registry.registry_app import Answer, RegistryApp, transport_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def registry_app():
    app = RegistryApp()
    with replaced(registry=Registry("http://registry.test", transport=transport_for(app), tries=1)):
        yield app


def make_published_image(app: App, registry_app: RegistryApp, release_command: str) -> Image:
    """One that is really in the registry, in the app's repository."""
    made = Made.build({"config": {"Labels": {"n": str(Image.objects.count())}}}, ())
    registry = Registry("http://registry.test", transport=transport_for(registry_app))
    registry.put_image(app.repository, made)
    return make_image(app, digest=made.digest, release_command=release_command)


@pytest.fixture
def line(registry_app):
    """A pipeline of alice: `shop-staging` with an image that is live, `shop` and `shop-eu` in production."""
    alice = make_user("alice")
    apps = {name: make_app(name, owner=alice) for name in ("shop-staging", "shop", "shop-eu")}
    pipeline = services.create_pipeline("shop-line", by=alice)
    for name, app in apps.items():
        services.couple_app(pipeline, app, "staging" if name == "shop-staging" else "production", by=alice)
    source = apps["shop-staging"]
    make_release(source, image=make_published_image(source, registry_app, "migrate"))
    return pipeline, apps


def results(promotion: Promotion) -> dict[str, str]:
    return {each.app.name: each.status for each in selectors.results(promotion, promotion.source.owner)}


def promote(pipeline: Pipeline, source: App, *targets: App, why: str = "") -> Promotion:
    promotion = services.promote(pipeline, source, targets, by=source.owner, why=why)
    services.run_promotion(str(promotion.pk))
    return promotion


def test_a_promotion_releases_the_same_digest_in_other_apps_with_their_own_config(line, registry_app):
    pipeline, apps = line
    source, shop = apps["shop-staging"], apps["shop"]
    make_live(make_config(source, COLOUR="blue", SECRET="of staging"))
    make_config(shop, COLOUR="red")
    promotion = promote(pipeline, source, shop, apps["shop-eu"], why="Sale begins")
    made = wished_release(shop)
    assert made is not None
    assert made.image.digest == current_release(source).image.digest
    assert made.image.repository == shop.repository
    assert made.image.digest in registry_app.manifests[shop.repository]
    assert made.config == {"COLOUR": "red"}
    assert made.release_command == "migrate"
    assert (made.kind, made.why, made.created_by) == (ReleaseKind.PROMOTION, "Sale begins", source.owner)
    commit = made.image.commit
    assert made.description == f"Promote shop-staging v2 {commit[:8]} {made.image.commit_subject}"
    assert results(promotion) == {"shop": "pending", "shop-eu": "pending"}
    for app in (shop, apps["shop-eu"]):
        make_live(wished_release(app))
    assert results(promotion) == {"shop": "succeeded", "shop-eu": "succeeded"}
    assert selectors.is_settled(promotion)


def test_a_second_message_of_the_same_promotion_makes_no_second_release(line):
    pipeline, apps = line
    promotion = promote(pipeline, apps["shop-staging"], apps["shop"])
    services.run_promotion(str(promotion.pk))
    assert apps["shop"].releases.count() == 1


def test_an_image_that_was_collected_in_the_target_is_there_again(line):
    pipeline, apps = line
    source, shop = apps["shop-staging"], apps["shop"]
    digest = current_release(source).image.digest
    gone = make_image(shop, digest=digest, collected_at=timezone.now(), is_in_registry=False)
    promote(pipeline, source, shop)
    gone.refresh_from_db()
    assert gone.collected_at is None
    assert gone.is_in_registry
    assert gone not in expired_images(shop)


def test_a_release_that_fails_in_a_target_fails_the_promotion_there_in_words(line):
    pipeline, apps = line
    promotion = promote(pipeline, apps["shop-staging"], apps["shop"], apps["shop-eu"])
    made = wished_release(apps["shop"])
    assert made is not None
    fail_release(made, BootFailed("web.1 exited with 1.", hint="See its log."))
    make_live(wished_release(apps["shop-eu"]))
    failed = next(each for each in selectors.results(promotion, promotion.source.owner) if each.app.name == "shop")
    assert (failed.status, failed.error_id, failed.reason) == ("failed", "boot_failed", "web.1 exited with 1.")
    assert results(promotion)["shop-eu"] == "succeeded"


def test_a_config_change_that_overtakes_a_promotion_carries_it_on(line):
    pipeline, apps = line
    promotion = promote(pipeline, apps["shop-staging"], apps["shop"])
    newer = make_config(apps["shop"], COLOUR="green")
    assert results(promotion) == {"shop": "pending"}
    make_live(newer)
    assert results(promotion) == {"shop": "succeeded"}


def test_a_registry_that_is_away_is_waited_for_and_then_given_up(line, registry_app, sent_tasks):
    pipeline, apps = line
    registry_app.trouble = lambda method, path: Answer(503)
    promotion = promote(pipeline, apps["shop-staging"], apps["shop"])
    assert results(promotion) == {"shop": "pending"}
    sent_tasks.clear()
    services.take_up_lost_promotions()
    assert sent_tasks == []  # it was asked for a moment ago
    PromotionTarget.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    services.take_up_lost_promotions()
    assert sent_tasks == [("pipelines.run_promotion", (str(promotion.pk),))]
    PromotionTarget.objects.update(created_at=timezone.now() - timedelta(minutes=11))
    services.run_promotion(str(promotion.pk))
    failed = selectors.results(promotion, promotion.source.owner)[0]
    assert (failed.status, failed.error_id) == ("failed", "registry_unavailable")
    assert not apps["shop"].releases.exists()


def test_an_image_that_the_registry_has_lost_is_named(line, registry_app):
    pipeline, apps = line
    registry_app.manifests.clear()
    promotion = promote(pipeline, apps["shop-staging"], apps["shop"])
    assert selectors.results(promotion, promotion.source.owner)[0].error_id == "image_missing"


def test_a_target_that_is_destroyed_meanwhile_gets_nothing(line):
    pipeline, apps = line
    promotion = services.promote(pipeline, apps["shop-staging"], [apps["shop"]], by=pipeline.owner)
    destroy_app(apps["shop"], by=pipeline.owner)
    services.run_promotion(str(promotion.pk))
    assert PromotionTarget.objects.get().error_id == "app_destroyed"


def test_what_can_not_be_promoted_is_refused_before_anything_happens(line):
    pipeline, apps = line
    source, shop = apps["shop-staging"], apps["shop"]
    stranger = make_app("stranger", owner=pipeline.owner)
    for targets, error_id in (
        ([], "no_target"),
        ([source], "promoted_to_itself"),
        ([shop, shop], "named_twice"),
        ([stranger], "not_in_the_pipeline"),
    ):
        with pytest.raises(InvalidInput) as caught:
            services.promote(pipeline, source, targets, by=pipeline.owner)
        assert caught.value.id == error_id
    with pytest.raises(Conflict) as conflict:
        services.promote(pipeline, shop, [source], by=pipeline.owner)
    assert conflict.value.id == "nothing_deployed"
    assert not Promotion.objects.exists()


def test_a_target_that_changed_since_the_preview_is_told(line):
    pipeline, apps = line
    source, shop = apps["shop-staging"], apps["shop"]
    preview = selectors.promotion_preview(source, shop)
    assert preview.seen == 0
    make_config(shop, COLOUR="red")
    with pytest.raises(Conflict) as caught:
        services.promote(pipeline, source, [shop], by=pipeline.owner, seen={shop.pk: preview.seen})
    assert caught.value.id == "changed_meanwhile"


def test_without_a_target_the_apps_of_the_next_stage_are_meant(line):
    pipeline, apps = line
    staging = Coupling.objects.get(app=apps["shop-staging"])
    assert [app.name for app in selectors.default_targets(staging, pipeline.owner)] == ["shop", "shop-eu"]
    with pytest.raises(InvalidInput, match="no stage after production"):
        selectors.default_targets(Coupling.objects.get(app=apps["shop"]), pipeline.owner)
    services.move_app(staging, "development", by=pipeline.owner)
    with pytest.raises(InvalidInput, match="shop-line has no app in staging"):
        selectors.default_targets(staging, pipeline.owner)


def test_the_stages_tell_what_runs_where_since_when_and_whether_it_differs(line):
    pipeline, apps = line
    source, shop = apps["shop-staging"], apps["shop"]
    promote(pipeline, source, shop)
    make_live(wished_release(shop))
    first = current_release(shop).finished_at
    make_live(make_config(shop, COLOUR="red"))
    columns = {column.stage.value: column.places for column in selectors.stages(pipeline, pipeline.owner)}
    assert list(columns) == ["review", "development", "staging", "production"]
    place = columns["production"][0]
    assert (place.app.name, place.release.version, place.since) == ("shop", 2, first)
    assert not place.differs_from(columns["staging"])
    empty = columns["production"][1]
    assert (empty.app.name, empty.release, empty.since) == ("shop-eu", None, None)
    assert empty.differs_from(columns["staging"])


def test_the_difference_of_two_apps_leaves_out_what_each_has_of_its_own(line):
    pipeline, apps = line
    source, shop = apps["shop-staging"], apps["shop"]
    make_live(make_config(source, COLOUR="blue", NEW="1"))
    make_config(shop, COLOUR="red", OLD="1")
    promote(pipeline, source, shop)
    make_live(wished_release(shop))
    diff = selectors.difference_of_apps(shop, source)
    assert [(change.subject, change.turn) for change in diff.config] == [("NEW", "added"), ("OLD", "removed")]
    assert not diff.has_other_image


def test_charlie_sees_neither_pipeline_nor_promotion_and_bob_only_his_apps(line):
    pipeline, apps = line
    bob, charlie = make_user("bob"), make_user("charlie")
    add_collaborator(apps["shop"], bob, Role.DEVELOPER, by=pipeline.owner)
    promotion = promote(pipeline, apps["shop-staging"], apps["shop"], apps["shop-eu"])
    assert list(selectors.pipelines_visible_to(charlie)) == []
    for look in (
        lambda: selectors.get_pipeline(charlie, "shop-line"),
        lambda: selectors.get_pipeline(charlie, str(pipeline.pk)),
        lambda: selectors.get_promotion(charlie, promotion.pk),
        lambda: selectors.get_coupling(charlie, Coupling.objects.first().pk),
        lambda: selectors.get_promotion(bob, promotion.pk),
    ):
        with pytest.raises(NotFound):
            look()
    assert selectors.get_pipeline(bob, "shop-line") == pipeline
    assert [place.app.name for column in selectors.stages(pipeline, bob) for place in column.places] == ["shop"]
    assert [each.app.name for each in selectors.results(promotion, bob)] == ["shop"]
    for change in (
        lambda: selectors.get_pipeline(bob, "shop-line", for_managing=True),
        lambda: selectors.coupling_of(bob, apps["shop"], for_managing=True),
    ):
        with pytest.raises(Forbidden):
            change()


def test_whoever_owns_an_app_may_take_it_out_of_somebody_elses_pipeline(line):
    pipeline, apps = line
    bob = make_user("bob")
    add_collaborator(apps["shop"], bob, Role.OWNER, by=pipeline.owner)
    services.uncouple_app(selectors.coupling_of(bob, apps["shop"], for_managing=True), by=bob)
    with pytest.raises(NotFound):
        selectors.get_pipeline(bob, "shop-line")


def test_an_app_is_in_one_pipeline_only(line):
    pipeline, apps = line
    other = services.create_pipeline("other", by=pipeline.owner)
    with pytest.raises(Conflict) as caught:
        services.couple_app(other, apps["shop"], "staging", by=pipeline.owner)
    assert caught.value.id == "already_in_a_pipeline"
    with pytest.raises(InvalidInput) as unknown:
        services.couple_app(other, make_app("new", owner=pipeline.owner), "canary", by=pipeline.owner)
    assert unknown.value.id == "unknown_stage"


@pytest.mark.parametrize("name", ["", "ab", "Shop", "1shop", "shop-", "shop_line", "x" * 31, "shöp"])
def test_a_name_that_no_address_could_have_is_refused(name):
    with pytest.raises(InvalidInput) as caught:
        services.create_pipeline(name, by=make_user())
    assert caught.value.id == "invalid_name"


def test_names_are_taken_once_and_renaming_frees_the_old_one():
    alice = make_user()
    first, second = (services.create_pipeline(name, by=alice) for name in ("first", "second"))
    for change in (
        lambda: services.create_pipeline("first", by=alice),
        lambda: services.rename_pipeline(second, "first", by=alice),
    ):
        with pytest.raises(Conflict) as caught:
            change()
        assert caught.value.id == "name_taken"
    services.rename_pipeline(first, "third", by=alice)
    services.rename_pipeline(second, "first", by=alice)
    assert sorted(Pipeline.objects.values_list("name", flat=True)) == ["first", "third"]


def test_every_change_of_a_pipeline_is_on_record_once(line):
    pipeline, apps = line
    coupling = Coupling.objects.get(app=apps["shop-eu"])
    services.move_app(coupling, "staging", by=pipeline.owner)
    services.move_app(coupling, "staging", by=pipeline.owner)
    services.uncouple_app(coupling, by=pipeline.owner)
    promote(pipeline, apps["shop-staging"], apps["shop"])
    services.rename_pipeline(pipeline, "shop-2", by=pipeline.owner)
    services.destroy_pipeline(pipeline, by=pipeline.owner)
    actions = (
        AuditEvent.objects.filter(action__startswith="pipeline.").order_by("at", "id").values_list("action", flat=True)
    )
    assert list(actions) == [
        "pipeline.create",
        *["pipeline.add"] * 3,
        "pipeline.move",
        "pipeline.remove",
        "pipeline.promote",
        "pipeline.rename",
        "pipeline.destroy",
    ]
    assert App.objects.filter(destroyed_at__isnull=True).count() == 3
    release = AuditEvent.objects.get(action="release.create", app_name="shop")
    assert release.detail["kind"] == "promotion"
