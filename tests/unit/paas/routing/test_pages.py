"""The page of ports and domains: who may do what there, what it shows, and that nothing typed is lost."""

from __future__ import annotations

import html

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from paas import wiring
from paas.apps.models import Collaborator, Role
from paas.releases.services import fail_release
from paas.routing.models import Domain
from paas.routing.selectors import public_ports
from paas.routing.services import add_domain, add_port
from runtime.errors import BootFailed
from runtime.router.api import PortProtocol
from runtime.router.memory import MemoryRouter
from tests.factories import make_app, make_live, make_release, make_user

pytestmark = pytest.mark.django_db

PAGE = "/apps/hello/ports"
ACTIONS = {
    f"{PAGE}/add": {"process": "web", "port": "9000", "protocol": "tcp"},
    f"{PAGE}/change": {"public": "20000/tcp", "process": "game", "port": "9001"},
    f"{PAGE}/remove": {"public": "20000/tcp"},
    "/apps/hello/domains/add": {"name": "shop.example.com"},
    "/apps/hello/domains/remove": {"name": "old.example.com"},
    "/apps/hello/domains/check": {},
}


@pytest.fixture
def app():
    app = make_app(owner=make_user("alice"))
    make_release(app, process_types={"web": "x", "game": "y"})
    _, release = add_port(app, process="game", port=9000, by=app.owner)
    assert release
    make_live(release)
    add_domain(app, "old.example.com", by=app.owner)
    return app


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


def with_role(app, role):
    bob = make_user("bob")
    Collaborator.objects.create(app=app, user=bob, role=role)
    return signed_in(bob)


def shown(answer):
    return html.unescape(answer.content.decode())


def state(app):
    return [str(port) + f" {port.process}:{port.port}" for port in public_ports(app)], [*app.domains.values_list("name")]


def test_it_shows_addresses_states_and_what_the_app_is_told(app):
    page = shown(signed_in(app.owner).get(PAGE))
    for text in (
        "hello.apps.example:20000",
        "game:9000",
        "PAAS_TCP_9000",
        "old.example.com",
        "Not asked yet",
        "20000 to 20199",
    ):
        assert text in page


@pytest.mark.parametrize("action", ACTIONS)
def test_charlie_gets_a_404_a_viewer_a_403_and_nobody_the_login(app, action):
    before = state(app)
    assert signed_in(make_user("charlie")).post(action, ACTIONS[action]).status_code == 404
    assert with_role(app, Role.VIEWER).post(action, ACTIONS[action]).status_code == 403
    assert Client().post(action, ACTIONS[action]).headers["Location"].startswith("/login")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(app.owner)
    assert strict.post(action, ACTIONS[action]).status_code == 403
    assert signed_in(app.owner).get(action).status_code == 405
    assert state(app) == before


def test_a_viewer_sees_the_page_without_forms(app):
    viewer = with_role(app, Role.VIEWER)
    page = shown(viewer.get(PAGE))
    assert "hello.apps.example:20000" in page
    assert "Open port" not in page
    assert "Add domain" not in page
    assert signed_in(make_user("charlie")).get(PAGE).status_code == 404


@pytest.mark.parametrize("action", ACTIONS)
def test_an_operator_may_do_all_of_it(app, action):
    answer = with_role(app, Role.OPERATOR).post(action, ACTIONS[action])
    assert (answer.status_code, answer.headers["Location"]) == (302, PAGE)


def test_a_port_is_opened_changed_and_closed(app):
    alice = signed_in(app.owner)
    values = {"process": "web", "port": "9001", "protocol": "udp", "public_port": "20007"}
    page = shown(alice.post(f"{PAGE}/add", values, follow=True))
    assert "Opening port 20007/udp: v3 is being released." in page
    assert "Releasing" in page
    page = shown(alice.get(f"{PAGE}?change=20007/udp"))
    assert "leads to" in page
    assert 'value="9001"' in page
    alice.post(f"{PAGE}/change", {"public": "20007/udp", "process": "game", "port": "9002"})
    assert state(app)[0] == ["20000/tcp game:9000", "20007/udp game:9002"]
    alice.post(f"{PAGE}/remove", {"public": "20007/udp"})
    assert state(app)[0] == ["20000/tcp game:9000"]


def test_a_port_that_another_process_has_is_refused_by_name_and_what_was_typed_stays(app):
    router = MemoryRouter()
    router.occupy(PortProtocol.TCP, 20009, by="postgres (process 812)")
    with wiring.replaced(router=router):
        answer = signed_in(app.owner).post(
            f"{PAGE}/add", {"process": "game", "port": "5432", "protocol": "tcp", "public_port": "20009"}
        )
    assert answer.status_code == 422
    page = shown(answer)
    assert "Port 20009/tcp of this machine is taken by postgres (process 812)." in page
    assert 'value="5432"' in page
    assert 'value="20009"' in page
    assert '<option value="game" selected>' in page


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": ""},
        {"port": "x"},
        {"port": "0"},
        {"port": "70000"},
        {"process": "nobody"},
        {"process": "<b>x"},
        {"protocol": "sctp"},
        {"public_port": "1"},
        {"public_port": "x"},
    ],
    ids=repr,
)
def test_a_form_that_can_not_be_meant_comes_back_with_the_reason(app, wrong):
    before = state(app)
    answer = signed_in(app.owner).post(f"{PAGE}/add", {"process": "web", "port": "9000", "protocol": "tcp", **wrong})
    assert answer.status_code == 422
    assert "field-error" in shown(answer)
    assert "<b>x" not in answer.content.decode()
    assert state(app) == before


@pytest.mark.parametrize("public", ["", "20000", "20001/tcp", "20000/udp", "x/tcp", "٣/tcp", "1" * 30 + "/tcp"])
def test_a_port_that_is_not_there_is_no_traceback(app, public):
    alice = signed_in(app.owner)
    assert alice.get(PAGE, {"change": public}).status_code == 200
    for action in ("change", "remove"):
        assert alice.post(f"{PAGE}/{action}", {"public": public, "process": "web", "port": "1"}).status_code in {404, 422}
    assert state(app)[0] == ["20000/tcp game:9000"]


def test_a_domain_that_is_none_comes_back_as_it_was_typed(app):
    answer = signed_in(app.owner).post("/apps/hello/domains/add", {"name": 'a"b.example'})
    assert answer.status_code == 422
    assert "is not a host name" in shown(answer)
    assert "a&quot;b.example" in answer.content.decode()


@pytest.mark.parametrize(
    ("dns", "addresses", "words"),
    [
        ("here", ["192.0.2.1"], "Leads here"),
        ("elsewhere", ["198.51.100.9"], "198.51.100.9"),
        ("missing", [], "CNAME"),
        ("unknown", [], "did not answer"),
    ],
)
def test_it_says_what_dns_says_and_what_to_do(app, dns, addresses, words):
    Domain.objects.update(dns_state=dns, dns_addresses=addresses, dns_checked_at=timezone.now())
    assert words in shown(signed_in(app.owner).get(PAGE))


def test_a_port_that_could_not_be_opened_is_explained(app):
    _, release = add_port(app, process="web", port=9001, by=app.owner)
    assert release
    fail_release(release, BootFailed("web.1 of v3 runs, but nothing took TCP on its port 9001.", hint="Listen there."))
    page = shown(signed_in(app.owner).get(PAGE))
    assert "Open port 20001/tcp to web:9001 failed" in page
    assert "nothing took TCP on its port 9001" in page


def test_the_number_of_queries_does_not_grow(app):
    alice = signed_in(app.owner)

    def queries():
        with CaptureQueriesContext(connection) as seen:
            alice.get(PAGE)
        return len(seen)

    alice.get(PAGE)
    few = queries()
    for n in range(5):
        _, release = add_port(app, port=9100 + n, by=app.owner)
        assert release
        make_live(release)
        add_domain(app, f"n{n}.example.com", by=app.owner)
    assert queries() == few
