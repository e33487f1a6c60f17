"""Client libraries that people have, unmodified: heroku3 for Python, heroku-client for Node."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import App, Platform, wait_until
from tests.e2e.heroku import HERE, NODE, Heroku

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it parses versions as one did ten years ago
    import heroku3


@pytest.fixture
def client(platform: Platform) -> Iterator[Any]:
    client = heroku3.api.Heroku()
    client._heroku_url = platform.env.api_local_url
    client._session.trust_env = False
    client._session.verify = str(platform.env.ca_file)
    assert client.authenticate(platform.token)
    yield client
    client._session.close()


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # it reads logs without looking at the certificate
def test_heroku3_creates_configures_scales_releases_and_rolls_back(
    client: Any, platform: Platform, new_app: Callable[[], App]
):
    checkout = new_app()
    made = client.create_app(name=checkout.name)
    assert made.name == checkout.name
    assert checkout.name in {each.name for each in client.apps()}
    made.config()["GREETING"] = "Hi"
    checkout.deploy("multi", version="one")
    assert checkout.answers(version="one", greeting="Hi")

    app = client.app(checkout.name)
    config = app.config()
    assert config["GREETING"] == "Hi"
    config["GREETING"] = "Hello there"
    config["GONE"] = "x"
    del config["GONE"]
    assert app.config().to_dict() == {"GREETING": "Hello there"}
    wait_until(lambda: checkout.answers(greeting="Hello there"), "the app is told")

    app.process_formation()["web"].scale(2)
    wait_until(lambda: len(checkout.instances("web")) == 2, "two of them run")
    wait_until(lambda: {d.name for d in app.dynos() if d.state == "up"} >= {"web.1", "web.2"}, "both are up")
    app.batch_scale_formation_processes({"web": 1, "worker": 1})
    wait_until(lambda: len(checkout.instances("web")) == 1 and len(checkout.instances("worker")) == 1, "one of each")

    checkout.deploy(version="two")
    releases = app.releases(order_by="version", sort="asc")
    first = next(each for each in releases if each.slug)
    made_again = app.create_release(first.slug.id)
    assert made_again.version == releases[-1].version + 1
    wait_until(lambda: checkout.answers(version="one", greeting="Hello there"), "the first code, with the config of now")
    app.rollback(first.id)
    wait_until(lambda: checkout.answers(version="one", greeting="Hi"), "the first release, whole")

    app.enable_maintenance_mode()
    wait_until(lambda: checkout.get().status == 503, "maintenance")
    app.disable_maintenance_mode()
    wait_until(lambda: checkout.answers(version="one"), "it is back")
    assert "web: version one listens" in app.get_log(lines=200)
    assert app.owner.email in {each.user.email for each in app.collaborators()}
    domain = f"www.{checkout.name}.example"
    app.add_domain(domain, None)
    assert domain in {each.hostname for each in app.domains()}
    app.remove_domain(domain)
    app.delete()
    assert checkout.name not in {each.name for each in client.apps()}


def test_heroku_client_creates_configures_scales_releases_and_rolls_back(
    platform: Platform, new_app: Callable[[], App], tmp_path: Path
):
    app = new_app()
    heroku = Heroku(platform, tmp_path / "client")
    heroku.environment["NODE_PATH"] = str(heroku.modules)

    def step(name: str) -> Any:
        return json.loads(heroku.run([str(NODE), str(HERE / "session.cjs"), app.name, name]).out)

    assert step("create") == {"owner": True, "isListed": True}
    app.deploy("multi", version="one")
    assert step("change") == {"config": {"GREETING": "Hi"}, "up": 2, "down": 0}
    app.deploy(version="two")
    wait_until(lambda: app.answers(version="two", greeting="Hi"), "the second version")
    released = step("release")
    versions = released["versions"]
    assert versions == list(range(1, len(versions) + 1))
    last = versions[-1]
    assert released["made"] == {"version": last + 1, "description": "The first again"}
    assert released["back"]["version"] == last + 2
    assert released["back"]["description"].startswith("Rollback to v")
    assert released["paged"] == [*versions, last + 1, last + 2], "a list that comes in parts"
    wait_until(lambda: app.answers(version="one", greeting="Hello"), "the first release, whole")
    gone = step("end")
    assert gone["status"] == 404
    assert gone["body"]["id"] == "not_found"
    assert heroku.strangers() == set()
