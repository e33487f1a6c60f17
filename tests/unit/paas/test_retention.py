"""Which images are kept, and what a cleanup removes where."""

from __future__ import annotations

import dataclasses

import pytest

from paas.builds.models import Build
from paas.convergence import cleanup
from paas.convergence.storage import storage_by_app
from paas.core.models import AuditEvent
from paas.releases.exclusion import collecting, pushing
from paas.releases.models import Image, Release
from paas.releases.retention import KEPT_RELEASES, expired, expired_images, give_up_images
from paas.releases.selectors import tags_of
from paas.releases.services import fail_release, roll_back, set_pinned
from paas.releases.tags import add_tag, remove_tag
from paas.wiring import engine, image_reference, replaced
from runtime.engine.api import ContainerSpec
from runtime.engine.memory import MemoryEngine
from runtime.errors import BootFailed, Conflict
from runtime.registry import Registry
from tests.factories import make_app, make_config, make_image, make_live, make_release
from tests.unit.runtime.registry.registry_app import Answer, RegistryApp, transport_for

pytestmark = pytest.mark.django_db


def image_of(release: Release) -> Image:
    assert release.image is not None
    return release.image


def with_old_releases(app, count: int = 3) -> list[Release]:
    """So many that expire, and after them as many as are kept."""
    old = [make_release(app) for _ in range(count)]
    for _ in range(KEPT_RELEASES):
        make_release(app)
    return old


def test_the_images_of_the_last_releases_are_kept_and_older_ones_expire():
    app = make_app()
    old = with_old_releases(app, 2)
    assert [each.versions for each in expired(app)] == [(1,), (2,)]
    assert set(expired_images(app)) == {image_of(release) for release in old}


def test_a_pin_and_a_tag_of_ones_own_keep_an_image():
    app = make_app()
    pinned, tagged, plain = with_old_releases(app)
    set_pinned(pinned, True, by=app.owner)
    add_tag(app, "stable", image_of(tagged), by=app.owner)
    assert [each.versions for each in expired(app)] == [(plain.version,)]
    set_pinned(pinned, False, by=app.owner)
    remove_tag(app, "stable", by=app.owner)
    assert len(expired(app)) == 3


def test_what_runs_is_kept_however_old_and_failures_keep_nothing():
    app = make_app()
    first = make_release(app)
    for _ in range(KEPT_RELEASES + 5):
        fail_release(make_release(app, live=False), BootFailed("no"))
    assert image_of(first) not in set(expired_images(app))
    assert len(expired(app)) == KEPT_RELEASES + 5


def test_the_image_that_is_being_built_is_kept_before_it_has_a_release():
    app = make_app()
    make_release(app)
    image = make_image(app)
    build = Build.objects.create(app=app, number=1, ref="refs/heads/main", old="", new="", image=image)
    assert not expired(app)
    Build.objects.filter(pk=build.pk).update(finished_at=build.created_at)
    assert [each.digest for each in expired(app)] == [image.digest]


def test_a_release_that_came_first_keeps_its_image_and_one_that_came_later_hears_that_it_is_gone():
    app = make_app()
    one, two, _ = with_old_releases(app)
    roll_back(app, one, by=app.owner)
    gone = give_up_images(app)
    assert image_of(one).digest not in {each.digest for each in gone}
    with pytest.raises(Conflict) as caught:
        roll_back(app, app.releases.get(pk=two.pk), by=app.owner)
    assert caught.value.id == "image_collected"
    assert AuditEvent.objects.get(action="images.collect").detail["releases"] == ["v2", "v3", "v4"]


def test_rows_and_config_of_old_releases_stay_and_only_their_tags_go():
    app = make_app()
    make_config(app, A="1")
    with_old_releases(app)
    assert tags_of(app).filter(name="v2").exists()
    give_up_images(app)
    assert not tags_of(app).filter(name="v2").exists()
    assert app.releases.get(version=2).config == {"A": "1"}
    assert not give_up_images(app)


class _Caches:
    def __init__(self) -> None:
        self.pruned: list[float] = []

    def prune(self, older_than_seconds: float) -> int:
        self.pruned.append(older_than_seconds)
        return 2


@pytest.fixture
def registry_app(settings):
    """A registry that is somebody else's: its garbage is not ours to collect."""
    app = RegistryApp()
    registry = Registry("http://registry.test", transport=transport_for(app), backoff_seconds=0.0)
    settings.ENV = dataclasses.replace(settings.ENV, external_registry=True)
    with replaced(registry=registry, builder=_Caches(), engine=MemoryEngine()):
        yield app


def publish(registry_app: RegistryApp, *images: Image) -> None:
    for image in images:
        registry_app.manifests.setdefault(image.repository, {})[image.digest] = (b"{}", "application/json")
        memory = engine()
        assert isinstance(memory, MemoryEngine)
        memory.add_image(image_reference(image.repository, image.digest))


def test_a_cleanup_removes_what_expired_from_registry_and_engine_and_says_so(registry_app):
    app = make_app()
    old = [image_of(release) for release in with_old_releases(app)]
    publish(registry_app, *Image.objects.all())
    assert [each.digest for each in cleanup.expired_everywhere()] == [image.digest for image in old]
    done = cleanup.clean_up(by=app.owner)
    assert (done.images, done.cache_images, done.engine_images) == (3, 2, 3)
    kept = set(Image.objects.filter(is_in_registry=True).values_list("digest", flat=True))
    assert set(registry_app.manifests[app.repository]) == kept
    assert len(kept) == KEPT_RELEASES
    assert not engine().has_image(image_reference(app.repository, old[0].digest))
    said = cleanup.last_cleanup()
    assert said is not None
    assert (said.actor, said.detail["images"]) == (app.owner, 3)
    assert cleanup.clean_up(by=None).images == 0


def test_a_cleanup_that_was_cut_short_is_finished_by_the_next_one(registry_app):
    app = make_app()
    with_old_releases(app)
    publish(registry_app, *Image.objects.all())
    registry_app.trouble = lambda method, _path: Answer(500) if method == "DELETE" else None
    with pytest.raises(Exception, match="500"):
        cleanup.clean_up(by=None)
    assert Image.objects.filter(collected_at__isnull=False, is_in_registry=True).count() == 3
    registry_app.trouble = lambda _method, _path: None
    assert cleanup.clean_up(by=None).images == 3


def test_an_image_of_which_a_container_is_made_stays_in_the_engine(registry_app):
    app = make_app()
    old = image_of(with_old_releases(app, 1)[0])
    publish(registry_app, old)
    reference = image_reference(old.repository, old.digest)
    container = engine().create(ContainerSpec(name="one-off", image=reference))
    assert cleanup.clean_up(by=None).engine_images == 0
    assert engine().has_image(reference)
    engine().remove(container)
    assert cleanup.clean_up(by=None).engine_images == 1


def test_nothing_is_collected_while_something_is_pushed(registry_app):
    with pushing(), pytest.raises(Conflict) as caught:
        cleanup.clean_up(by=None, wait_seconds=0)
    assert caught.value.id == "builds_running"


def test_nothing_is_pushed_while_garbage_is_collected():
    waited = []

    class _EnoughError(Exception):
        pass

    def push() -> None:
        with pushing(give_up, on_wait=lambda: waited.append(True)):
            waited.append(False)

    def give_up() -> None:
        raise _EnoughError

    with collecting(0) as lock:
        assert lock is not None
        with pytest.raises(_EnoughError):
            push()
    assert waited == [True]


def test_storage_tells_an_apps_own_layers_from_those_it_shares():
    shared, own = {"digest": "sha256:aa", "size": 40}, {"digest": "sha256:bb", "size": 7}
    for name in ("shop", "blog"):
        app = make_app(name)
        layers = [shared, own] if name == "shop" else [shared]
        make_live(make_release(app, image=make_image(app, layers=layers)))
    storage = {each.app: (each.images, each.images_bytes, each.shared_bytes) for each in storage_by_app()}
    assert storage == {"shop": (1, 7, 40), "blog": (1, 0, 40)}
