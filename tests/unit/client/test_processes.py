"""Instances, limits, health, ports, settings."""

from __future__ import annotations

import pytest
from django.utils import timezone

from paas.apps.models import App
from paas.apps.selectors import maintenance_page
from paas.convergence.models import Instance
from paas.releases.models import Release
from paas.releases.selectors import wished_release
from tests.factories import make_live, make_release

pytestmark = pytest.mark.django_db


@pytest.fixture
def live(app, transport):
    """With `web` and `game`; whatever is wished comes true before the next request."""
    make_release(app, process_types={"web": "gunicorn app:app", "game": "./game"})

    def convergence():
        for release in Release.objects.filter(app=app, status="pending"):
            make_live(release)
        wish = App.objects.get(pk=app.pk)
        App.objects.filter(pk=app.pk).update(observed_generation=wish.generation)

    transport.meanwhile = convergence
    return app


def test_limits_are_shown_and_set(paas, live):
    assert "web           512 MiB" in paas("limits", "-a", "hello").out
    said = paas("limits:set", "-a", "hello", "web", "--memory", "1.5G", "--cpu-shares", "512", "--why", "It grew.")
    assert "done, live at" in said.err
    limits = paas("limits", "-a", "hello", "--json").json
    assert limits["web"] == {"memory_bytes": 1536 * 1024**2, "cpu_shares": 512}
    assert wished_release(live).why == "It grew."
    assert "web           1.5 GiB" in paas("limits", "-a", "hello").out
    assert "much" in paas("limits:set", "-a", "hello", "web", "--cpu-shares", "much", code=1).err
    assert "--memory" in paas("limits:set", "-a", "hello", "web", code=1).err


def test_health_is_shown_set_and_given_back(paas, live):
    assert paas("health", "-a", "hello", "--json").json["web"]["kind"] == "tcp"
    paas("health:set", "-a", "hello", "web", "--kind", "http", "--path", "/up", "--timeout", "3")
    check = paas("health", "-a", "hello", "--json").json["web"]
    assert (check["kind"], check["path"], check["timeout_seconds"]) == ("http", "/up", 3)
    assert "/up" in paas("health", "-a", "hello").out
    paas("health:set", "-a", "hello", "web", "--default")
    assert paas("health", "-a", "hello", "--json").json["web"]["kind"] == "tcp"
    assert "--kind" in paas("health:set", "-a", "hello", "web", code=1).err


def test_an_app_is_stopped_once_and_started_again(paas, live):
    assert paas("ps:stop", "-a", "hello").err == "Stopping hello… done\n"
    assert paas("ps:stop", "-a", "hello").err == "hello is stopped already.\n"
    assert paas("config:set", "-a", "hello", "A=1").err.endswith("done; hello is stopped\n")
    assert paas("ps:start", "-a", "hello").err == "Starting hello… done\n"
    assert paas("ps:start", "-a", "hello").err == "hello is not stopped.\n"
    assert paas("ps:restart", "-a", "hello", "web").err == "Restarting web… done\n"
    assert "nothing" in paas("ps:restart", "-a", "hello", "nothing", code=1).err
    assert paas("ps", "-a", "hello").err == "Nothing runs.\n"


def test_ports_are_opened_shown_changed_and_closed(paas, live):
    assert (
        paas("ports:add", "9000", "-a", "hello", "-p", "game", "--udp", "--no-wait").out == "hello.apps.example:20000\n"
    )
    assert "hello.apps.example:20000  udp       game:9000" in paas("ports", "-a", "hello").out
    paas("ports:change", "20000/udp", "9001", "-a", "hello", "-p", "web")
    (port,) = paas("ports", "-a", "hello", "--json").json
    assert (port["variable"], port["process"], port["live"]) == ("PAAS_UDP_9001", "web", True)
    assert paas("ports:remove", "20000", "-a", "hello", code=1).code == 1
    assert "20000/x" in paas("ports:remove", "20000/x", "-a", "hello", code=1).err
    paas("ports:remove", "20000/udp", "-a", "hello")
    assert paas("ports", "-a", "hello").out == ""


def test_the_branch_that_is_deployed_is_shown_and_chosen(paas, live):
    assert paas("apps:branch", "-a", "hello").out == "main\n"
    paas("apps:branch", "-a", "hello", "production")
    assert paas("apps:branch", "-a", "hello").out == "production\n"


def test_visitors_are_shown_a_page_of_ones_own(paas, live, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<h1>Back soon</h1>")
    assert "is on" in paas("maintenance:on", "-a", "hello", "--page", str(page)).err
    assert maintenance_page(live) == "<h1>Back soon</h1>"
    paas("maintenance:on", "-a", "hello", "--default-page")
    assert maintenance_page(live) == ""
    page.write_bytes(b"\xff")
    assert "UTF-8" in paas("maintenance:on", "-a", "hello", "--page", str(page), code=1).err
    assert "is off" in paas("maintenance:off", "-a", "hello").err
    assert not App.objects.get(pk=live.pk).maintenance


def test_process_types_are_scaled_and_the_command_waits_for_it(paas, live):
    assert paas("ps:scale", "-a", "hello").out == "game=1\nweb=1\n"
    assert paas("ps:scale", "-a", "hello", "web=3", "game=2").err == "Scaling web to 3, game to 2… done\n"
    assert paas("ps:scale", "-a", "hello").out == "game=2\nweb=3\n"
    assert paas("ps:scale", "-a", "hello", "web=3").err == "Nothing changes.\n"
    assert "'many' is not a number" in paas("ps:scale", "-a", "hello", "web=many", code=1).err
    assert "nothing" in paas("ps:scale", "-a", "hello", "nothing=1", code=1).err


def test_instances_are_listed_with_state_and_reason(paas, live):
    since = timezone.now()
    facts = {"release_version": 1, "since": since, "container_id": "c1", "address": "10.0.0.2:80"}
    Instance.objects.create(app=live, process="web", index=1, state="up", **facts)
    Instance.objects.create(app=live, process="web", index=2, state="crashed", reason="It ran out of memory.", **facts)
    lines = paas("ps", "-a", "hello").out.splitlines()
    assert lines[0].split() == ["instance", "state", "release", "since", "(UTC)", "command", "or", "reason"]
    assert lines[1].endswith("gunicorn app:app")
    assert lines[2].endswith("It ran out of memory.")
    first = paas("ps", "-a", "hello", "--json").json[0]
    assert (first["name"], first["state"], first["release"], first["reason"]) == ("web.1", "up", 1, None)


def test_domains_are_added_shown_and_removed(paas, live):
    assert "shop.example.com as soon as its DNS leads here" in paas("domains:add", "-a", "hello", "shop.example.com").err
    assert "shop.example.com" in paas("domains", "-a", "hello").out
    assert paas("domains", "-a", "hello", "--json").json[0]["name"] == "shop.example.com"
    paas("domains:remove", "-a", "hello", "shop.example.com")
    assert not live.domains.exists()
    assert "No domains" in paas("domains", "-a", "hello").err
