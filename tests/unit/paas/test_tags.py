"""Names for images: ours, people's own, and their copies in the registry."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from paas.core.models import AuditEvent
from paas.releases.models import Image, Release, Tag
from paas.releases.selectors import get_tag, named_image, named_release, tags_of
from paas.releases.services import deploy_tag, set_pinned
from paas.releases.tags import add_tag, check_name, is_ours, protect_tag, publish_tags, remove_tag, unpublished_tags
from paas.wiring import replaced
from runtime.errors import Conflict, InvalidInput, NotFound
from runtime.images.values import Image as Made
from runtime.registry import Registry
from tests.factories import make_app, make_config, make_live, make_release
from tests.unit.runtime.registry.registry_app import Answer, RegistryApp, transport_for

pytestmark = pytest.mark.django_db


def image_of(release: Release) -> Image:
    assert release.image is not None
    return release.image


def names(app) -> dict[str, str]:
    return {tag.name: tag.image.commit_subject for tag in tags_of(app)}


def test_a_tag_of_ones_own_is_made_moved_and_removed_and_the_record_says_so():
    app = make_app()
    first, second = make_release(app), make_release(app)
    assert add_tag(app, "stable", image_of(first), by=app.owner)
    assert not add_tag(app, "stable", image_of(first), by=app.owner)
    assert add_tag(app, "stable", image_of(second), by=app.owner)
    assert get_tag(app, "stable").image == second.image
    remove_tag(app, "stable", by=app.owner)
    assert "stable" not in names(app)
    with pytest.raises(NotFound):
        remove_tag(app, "stable", by=app.owner)
    actions = AuditEvent.objects.filter(action__startswith="tag.").order_by("at", "id")
    assert [event.action for event in actions] == ["tag.set", "tag.set", "tag.remove"]
    assert add_tag(app, "stable", image_of(first), by=app.owner)


def test_a_protected_tag_stays_where_it_is_until_the_protection_is_off():
    app = make_app()
    first, second = make_release(app), make_release(app)
    add_tag(app, "stable", image_of(first), by=app.owner)
    protect_tag(app, "stable", True, by=app.owner)
    for change in (
        lambda: add_tag(app, "stable", image_of(second), by=app.owner),
        lambda: remove_tag(app, "stable", by=app.owner),
    ):
        with pytest.raises(Conflict) as caught:
            change()
        assert caught.value.id == "tag_protected"
    protect_tag(app, "stable", False, by=app.owner)
    assert add_tag(app, "stable", image_of(second), by=app.owner)


@pytest.mark.parametrize("name", ["latest", "v12", "git-1a2b3c4d5e6f", "git-mine"])
def test_the_platforms_tags_are_not_for_people(name):
    app = make_app()
    image = image_of(make_release(app))
    for change in (
        lambda: add_tag(app, name, image, by=app.owner),
        lambda: remove_tag(app, name, by=app.owner),
        lambda: protect_tag(app, name, True, by=app.owner),
    ):
        with pytest.raises(InvalidInput) as caught:
            change()
        assert caught.value.id == "reserved_tag"


@given(st.text(max_size=140) | st.from_regex(r"[a-z0-9_.\n-]{0,140}", fullmatch=True))
def test_only_names_that_the_oci_specification_allows_become_tags(name):
    allowed = bool(re.fullmatch(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", name)) and not is_ours(name)
    try:
        check_name(name)
    except InvalidInput:
        assert not allowed
    else:
        assert allowed


def test_a_tag_is_deployed_with_the_present_settings():
    app = make_app()
    make_config(app, GREETING="hi")
    old = make_release(app)
    add_tag(app, "stable", image_of(old), by=app.owner)
    make_live(make_config(app, GREETING="bye"))
    make_release(app)
    release = deploy_tag(app, "stable", by=app.owner, why="It worked.")
    assert (image_of(release), release.config, release.kind) == (image_of(old), {"GREETING": "bye"}, "tag")
    assert (release.description, release.why) == ("Deploy tag stable", "It worked.")


def test_a_tag_names_the_newest_release_that_ran_its_image():
    app = make_app()
    make_release(app)
    changed = make_config(app, A="1")
    make_live(changed)
    add_tag(app, "stable", image_of(changed), by=app.owner)
    make_release(app)
    assert named_release(app, "stable") == changed
    assert named_release(app, "v1").version == 1
    assert named_image(app, "latest") == app.releases.get(version=3).image
    with pytest.raises(NotFound):
        named_release(app, "unknown")


def test_an_image_that_was_collected_can_be_neither_tagged_nor_pinned_nor_deployed():
    app = make_app()
    old = make_release(app)
    add_tag(app, "stable", image_of(old), by=app.owner)
    make_release(app)
    Image.objects.filter(pk=image_of(old).pk).update(collected_at=timezone.now())
    for change in (
        lambda: add_tag(app, "other", image_of(old), by=app.owner),
        lambda: deploy_tag(app, "stable", by=app.owner),
        lambda: set_pinned(old, True, by=app.owner),
    ):
        with pytest.raises(Conflict) as caught:
            change()
        assert caught.value.id == "image_collected"


@pytest.fixture
def registry_app():
    app = RegistryApp()
    with replaced(registry=Registry("http://registry.test", transport=transport_for(app), backoff_seconds=0.0)):
        yield app


def push(registry_app: RegistryApp, image: Image) -> None:
    """Something with that image's digest: the row's becomes that of a real, empty manifest."""
    made = Made.empty()
    Image.objects.filter(pk=image.pk).update(digest=made.digest)
    image.digest = made.digest
    registry_app.blobs.setdefault(image.repository, {})
    with Registry("http://registry.test", transport=transport_for(registry_app)) as registry:
        registry.put_image(image.repository, made)


def test_the_registry_is_told_of_every_tag_and_of_those_that_are_gone(registry_app):
    app = make_app()
    release = make_release(app)
    push(registry_app, image_of(release))
    add_tag(app, "stable", image_of(release), by=app.owner)
    publish_tags(str(app.pk))
    assert registry_app.tags[app.repository] == dict.fromkeys(["v1", "latest", "stable"], image_of(release).digest)
    assert not unpublished_tags().exists()
    remove_tag(app, "stable", by=app.owner)
    publish_tags(str(app.pk))
    assert registry_app.tags[app.repository] == dict.fromkeys(["v1", "latest"], image_of(release).digest)
    assert image_of(release).digest in registry_app.manifests[app.repository]
    assert not Tag.objects.filter(name="stable").exists()


def test_a_registry_that_is_away_is_told_later(registry_app):
    app = make_app()
    release = make_release(app)
    push(registry_app, image_of(release))
    registry_app.trouble = lambda _method, _path: Answer(503)
    publish_tags(str(app.pk))
    assert unpublished_tags().count() == 2
    registry_app.trouble = lambda _method, _path: None
    publish_tags(str(app.pk))
    assert not unpublished_tags().exists()
