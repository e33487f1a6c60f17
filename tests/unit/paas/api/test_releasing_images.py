"""What `container:release` and `container:rm` ask of the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from paas import wiring
from paas.accounts.models import Scope
from paas.apps.models import App, Role
from paas.apps.services import add_collaborator
from paas.builds import services
from paas.releases.models import Release
from paas.releases.selectors import wished_release
from paas.releases.services import finish_release, start_release
from runtime.images.values import Image, host_architecture
from runtime.registry import Registry
from tests.factories import make_app, make_user
from tests.unit.paas.api.conftest import ApiClient
from tests.unit.runtime.registry.registry_app import RegistryApp, transport_for

pytestmark = pytest.mark.django_db(transaction=True)
Push = Callable[..., str]


@pytest.fixture
def app(alice) -> App:
    return make_app("shop", owner=alice)


@pytest.fixture
def push(app, sent_tasks, monkeypatch) -> Iterator[Push]:
    """Pushes an image with this command and gives its id; builds are run, and releases go live, as soon as asked for."""
    from paas.celery import celery_app

    def send(name: str, args: tuple[str, ...] = (), **_: object) -> None:
        sent_tasks.append((name, tuple(args)))
        if name == "builds.run_build":
            services.run_build(args[0])
        if name == "convergence.converge":
            for each in Release.objects.filter(app_id=args[0], status="pending"):
                start_release(each)
                finish_release(each)

    monkeypatch.setattr(celery_app, "send_task", send)
    with (
        Registry("http://registry", transport=transport_for(RegistryApp())) as registry,
        wiring.replaced(registry=registry),
    ):

        def push(process: str, *command: str) -> str:
            image = Image.build(
                {"architecture": host_architecture(), "os": "linux", "config": {"Cmd": list(command)}}, []
            )
            registry.push_blob(f"{app.name}/{process}", image.config)
            registry.put_image(f"{app.name}/{process}", image, "latest")
            return image.config_descriptor.digest

        yield push


def update(process: str, image: str | None) -> dict[str, str | None]:
    return {"type": process, "docker_image": image}


def types(app: App) -> dict[str, str]:
    release = wished_release(app)
    return dict(release.process_types) if release else {}


def test_pushed_images_are_released_together(api, app, push):
    updates = [update("web", push("web", "serve")), update("worker", push("worker", "work", "hard"))]
    answer = api.patch("/apps/shop/formation", {"updates": updates}, variant="docker-releases")
    assert answer.status_code == 200
    assert {each["type"]: each["command"] for each in answer.data} == {"web": "", "worker": "work hard"}
    assert types(app) == {"web": "", "worker": "work hard"}


def test_an_image_may_come_with_a_quantity(api, app, push):
    updates = [{**update("web", push("web", "serve")), "quantity": "3"}]
    answer = api.patch("/apps/shop/formation", {"updates": updates}, variant="docker-releases")
    assert [(each["type"], each["quantity"]) for each in answer.data] == [("web", 3)]


def test_one_process_type_alone_is_released_and_removed(api, app, push):
    image = push("web", "serve")
    answer = api.patch("/apps/shop/formation/web", {"docker_image": image}, variant="docker-releases")
    assert (answer.status_code, answer.data["type"]) == (200, "web")
    gone = api.patch("/apps/shop/formation/web", {"docker_image": None}, variant="docker-releases")
    assert (gone.status_code, gone.data["quantity"]) == (200, 0)
    assert types(app) == {}
    again = api.patch("/apps/shop/formation/web", {"docker_image": None}, variant="docker-releases")
    assert (again.status_code, again.data["resource"]) == (404, "formation")


def test_what_is_wrong_with_an_image_is_the_answer(api, app, push):
    refused = api.patch("/apps/shop/formation", {"updates": [update("web", push("web"))]}, variant="docker-releases")
    assert (refused.status_code, refused.data["code"]) == (422, "no_command")
    missing = api.patch("/apps/shop/formation", {"updates": [update("web", "sha256:" + "0" * 64)]})
    assert (missing.status_code, missing.data["code"]) == (404, "image_not_found")
    bad = api.patch("/apps/shop/formation", {"updates": [update("web", "latest")]})
    assert (bad.status_code, bad.data["code"]) == (422, "invalid_image_id")
    assert types(app) == {}


def test_it_takes_a_developer_and_a_token_that_may_write(app, push):
    image = push("web", "serve")
    bob = make_user("bob")
    add_collaborator(app, bob, Role.OPERATOR, by=app.owner)
    for who, status in (
        (ApiClient(bob), 403),
        (ApiClient(make_user("charlie")), 404),
        (ApiClient(app.owner, scopes=(Scope.READ,)), 403),
    ):
        assert who.patch("/apps/shop/formation/web", {"docker_image": image}).status_code == status
        assert who.patch("/apps/shop/formation", {"updates": [update("web", None)]}).status_code == status
    assert types(app) == {}
