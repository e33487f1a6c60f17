"""Public ports: who may have which, and what becomes of them in releases."""

from __future__ import annotations

import pytest

from paas import wiring
from paas.convergence.spec import app_spec
from paas.core.models import AuditEvent
from paas.releases.models import PortBinding
from paas.releases.selectors import wished_release
from paas.releases.services import roll_back
from paas.routing.rules import MAX_PORTS
from paas.routing.selectors import public_ports
from paas.routing.services import add_port, change_port, remove_port
from runtime.errors import Conflict, InvalidInput, NotFound
from runtime.router.api import PortProtocol
from runtime.router.memory import MemoryRouter
from tests.factories import make_app, make_live, make_release, make_user

TCP, UDP = PortProtocol.TCP, PortProtocol.UDP
FIRST = 20000  # of the range

pytestmark = pytest.mark.django_db


@pytest.fixture
def host():
    """Other processes of the machine take ports of it."""
    router = MemoryRouter()
    with wiring.replaced(router=router):
        yield router


@pytest.fixture
def app():
    app = make_app(owner=make_user("alice"))
    make_release(app, process_types={"web": "x", "game": "y"})
    return app


def have(app):
    return [(each.public_port, each.protocol, each.process, each.port) for each in public_ports(app)]


def test_a_free_port_is_chosen_and_is_a_release(app):
    port, release = add_port(app, process="game", port=9000, by=app.owner)
    assert (port, release.kind, release.description) == (FIRST, "ports", "Open port 20000/tcp to game:9000")
    assert have(app) == [(FIRST, "tcp", "game", 9000)]
    assert [str(row) for row in PortBinding.objects.all()] == ["0.0.0.0:20000/tcp"]
    assert public_ports(app)[0].address == "hello.apps.example:20000"
    assert not public_ports(app)[0].is_live
    assert release
    make_live(release)
    assert public_ports(app)[0].is_live
    event = AuditEvent.objects.get(action="ports.add")
    assert (event.actor, event.after) == (app.owner, {"20000/tcp": "game:9000"})


def test_ports_of_other_apps_and_of_other_processes_are_passed_over(app, host):
    other = make_app("other")
    add_port(other, port=9000, public_port=FIRST, by=other.owner)
    host.occupy(TCP, FIRST + 1, by="postgres (process 812)")
    assert add_port(app, port=9000, by=app.owner)[0] == FIRST + 2
    assert add_port(app, port=9000, protocol="udp", by=app.owner)[0] == FIRST


def test_a_port_that_another_process_has_is_refused_while_saving_and_named(app, host):
    host.occupy(UDP, FIRST + 7, by="dnsmasq (process 812)")
    with pytest.raises(Conflict, match=r"20007/udp of this machine is taken by dnsmasq \(process 812\)") as refused:
        add_port(app, port=53, protocol="udp", public_port=FIRST + 7, by=app.owner)
    assert refused.value.id == "port_taken"
    assert have(app) == []
    add_port(app, port=53, public_port=FIRST + 7, by=app.owner)  # TCP is another port


def test_a_port_that_another_app_has_is_refused_without_its_name(app):
    other = make_app("secret-plan")
    add_port(other, port=9000, public_port=FIRST, by=other.owner)
    with pytest.raises(Conflict) as refused:
        add_port(app, port=9000, public_port=FIRST, by=app.owner)
    assert refused.value.id == "port_of_another_app"
    assert "secret-plan" not in str(refused.value)
    assert have(app) == []


def test_only_an_admin_gives_ports_beyond_the_range(app):
    with pytest.raises(InvalidInput, match="20000 to 20199"):
        add_port(app, port=1883, public_port=1883, by=app.owner)
    admin = make_user("admin", is_admin=True)
    assert add_port(app, port=1883, public_port=1883, by=admin)[0] == 1883
    for port in (0, 22, 443, 65536):
        with pytest.raises(InvalidInput):
            add_port(app, port=1883, public_port=port, by=admin)


@pytest.mark.parametrize(
    "wrong",
    [
        {"process": "nobody"},
        {"process": "web; rm"},
        {"process": ""},
        {"port": 0},
        {"port": 70_000},
        {"port": -1},
        {"protocol": "http"},
        {"protocol": "sctp"},
        {"public_port": -1},
        {"public_port": 10**30},
    ],
    ids=repr,
)
def test_what_is_no_binding_is_refused_with_a_hint(app, wrong):
    with pytest.raises(InvalidInput) as refused:
        add_port(app, **{"port": 9000, **wrong}, by=app.owner)
    assert refused.value.hint
    assert have(app) == []


def test_the_same_port_twice_is_refused(app):
    add_port(app, port=9000, public_port=FIRST, by=app.owner)
    with pytest.raises(Conflict) as refused:
        add_port(app, process="game", port=9001, public_port=FIRST, by=app.owner)
    assert refused.value.id == "port_bound"


def test_there_is_a_limit_to_how_many(app):
    for _ in range(MAX_PORTS):
        add_port(app, port=9000, by=app.owner)
    with pytest.raises(Conflict) as refused:
        add_port(app, port=9000, by=app.owner)
    assert refused.value.id == "too_many_ports"


def test_a_full_range_says_so(app, host):
    for port in range(FIRST, FIRST + 200):
        host.occupy(TCP, port, by="x (process 1)")
    with pytest.raises(Conflict, match="No tcp port from 20000 to 20199 is free") as refused:
        add_port(app, port=9000, by=app.owner)
    assert refused.value.id == "no_port_left"


def test_a_port_is_changed_and_removed_each_as_a_release(app):
    port, _ = add_port(app, process="game", port=9000, by=app.owner)
    changed = change_port(app, TCP, port, process="web", port=9001, by=app.owner)
    assert changed.description == "Lead port 20000/tcp to web:9001"
    assert have(app) == [(port, "tcp", "web", 9001)]
    assert change_port(app, TCP, port, process="web", port=9001, by=app.owner) is None
    removed = remove_port(app, TCP, port, by=app.owner)
    assert removed
    make_live(removed)
    assert have(app) == []
    assert not PortBinding.objects.exists()
    for missing in (lambda: remove_port(app, TCP, port, by=app.owner), lambda: remove_port(app, UDP, 1, by=app.owner)):
        with pytest.raises(NotFound) as refused:
            missing()
        assert refused.value.id == "port_not_found"


def test_a_rollback_restores_the_ports(app):
    before = wished_release(app)
    port, release = add_port(app, process="game", port=9000, by=app.owner)
    assert before
    assert release
    make_live(release)
    make_live(roll_back(app, before, by=app.owner))
    assert have(app) == []
    make_live(roll_back(app, release, by=app.owner, only=["ports"]))
    assert have(app) == [(port, "tcp", "game", 9000)]


def test_ports_can_be_opened_before_the_first_push():
    app = make_app("early")
    port, release = add_port(app, process="game", port=9000, by=app.owner)
    assert release.is_finished
    make_release(app, process_types={"web": "x", "game": "y"})
    assert have(app) == [(port, "tcp", "game", 9000)]


def test_the_app_is_told_and_the_plan_has_the_ports(app):
    add_port(app, process="game", port=9000, public_port=20005, by=app.owner)
    add_port(app, process="game", port=9000, public_port=20003, by=app.owner)
    _, release = add_port(app, process="game", port=9001, protocol="udp", by=app.owner)
    game, web = app_spec(app, release).processes
    assert [str(each) for each in game.bound] == ["tcp 0.0.0.0:20005", "tcp 0.0.0.0:20003", "udp 0.0.0.0:20000"]
    assert game.environment["PAAS_TCP_9000"] == "hello.apps.example:20003"
    assert game.environment["PAAS_UDP_9001"] == "hello.apps.example:20000"
    assert (game.health.kind, game.health.port) == ("tcp", 9000)
    assert (web.bound, [name for name in web.environment if name.startswith(("PAAS_TCP", "PAAS_UDP"))]) == ((), [])
