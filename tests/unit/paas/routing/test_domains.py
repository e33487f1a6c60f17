"""Host names of an app's own: which may be one, and whose."""

from __future__ import annotations

import pytest

from paas import wiring
from paas.apps.models import App
from paas.convergence.spec import app_spec
from paas.core.models import AuditEvent
from paas.routing.models import Domain
from paas.routing.rules import MAX_DOMAINS
from paas.routing.selectors import hosts
from paas.routing.services import add_domain, check_domains, remove_domain
from runtime.errors import Conflict, InvalidInput, NotFound
from runtime.router.names import MemoryNames
from tests.factories import make_app, make_release, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def app():
    return make_app(owner=make_user("alice"))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Shop.Example.com.", "shop.example.com"),
        (" bücher.example ", "xn--bcher-kva.example"),
        ("*.example.com", "*.example.com"),
        ("a-b.c_d.example", "a-b.c_d.example"),
    ],
)
def test_a_domain_is_kept_in_normal_form(app, given, kept):
    assert add_domain(app, given, by=app.owner).name == kept
    assert hosts(app) == ["hello.apps.example", kept]


def test_a_domain_is_shown_as_people_write_it(app):
    assert add_domain(app, "bücher.example", by=app.owner).shown_name == "bücher.example"


@pytest.mark.parametrize(
    "bad",
    [
        "", ".", "..", "example", "*.com", "*", "*.*.example.com", "a.*.example.com", "-a.example.com", "a-.example.com",
        "a..example.com", "exa mple.com", "a.example.com/x", "http://a.example.com", "a.example.com:80", "10.0.0.1",
        "*.0.0.1", "[::1]", "a;b.example.com", "a\nb.example.com", "a\0.example.com", "x" * 64 + ".com",
        ".".join(["abcdefgh"] * 40), "\udcff.example.com", "${x}.example.com", '".example.com', "a.example.com\n",
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_domain_is_refused_with_a_hint(app, bad):
    if bad == "a.example.com\n":  # blanks at the ends are a slip of the mouse
        assert add_domain(app, bad, by=app.owner).name == "a.example.com"
        return
    with pytest.raises(InvalidInput) as refused:
        add_domain(app, bad, by=app.owner)
    assert refused.value.hint
    assert not Domain.objects.exists()


@pytest.mark.parametrize(
    "name", ["apps.example", "hello.apps.example", "a.b.apps.example", "*.apps.example", "*.x.apps.example"]
)
def test_the_platforms_own_names_are_refused(app, name):
    with pytest.raises(InvalidInput) as refused:
        add_domain(app, name, by=app.owner)
    assert refused.value.id == "reserved_domain"


def test_a_change_asks_for_convergence_and_is_no_release(app, sent_tasks, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        add_domain(app, "shop.example.com", by=app.owner)
        add_domain(app, "shop.example.com", by=app.owner)  # saying it twice
    assert [name for name, _ in sent_tasks] == ["convergence.converge", "routing.check_domains", "hooks.take_events"]
    assert App.objects.get().generation == 1
    assert not app.releases.exists()
    with django_capture_on_commit_callbacks(execute=True):
        remove_domain(app, "SHOP.example.com", by=app.owner)
    assert App.objects.get().generation == 2
    events = AuditEvent.objects.filter(action__startswith="domains.").order_by("at")
    assert [(event.action, event.before, event.after) for event in events] == [
        ("domains.add", None, {"domain": "shop.example.com"}),
        ("domains.remove", {"domain": "shop.example.com"}, None),
    ]


def test_the_route_has_the_domains(app):
    release = make_release(app)
    add_domain(app, "shop.example.com", by=app.owner)
    assert app_spec(app, release).hosts == ("hello.apps.example", "shop.example.com")


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [
        ("shop.example.com", "shop.example.com"),
        ("shop.example.com", "SHOP.example.com."),
        ("*.example.com", "shop.example.com"),
        ("*.example.com", "a.b.example.com"),
        ("*.example.com", "*.b.example.com"),
        ("shop.example.com", "*.example.com"),
        ("*.shop.example.com", "*.example.com"),
    ],
)
def test_a_name_belongs_to_one_app_with_what_is_below_its_wildcard(app, theirs, mine):
    other = make_app("secret-plan")
    add_domain(other, theirs, by=other.owner)
    with pytest.raises(Conflict) as refused:
        add_domain(app, mine, by=app.owner)
    assert refused.value.id == "domain_taken"
    assert "secret-plan" not in str(refused.value)
    with pytest.raises(Conflict, match="secret-plan"):
        add_domain(app, mine, by=make_user("admin", is_admin=True))


@pytest.mark.parametrize("mine", ["example.com", "notexample.com", "other.example.org"])
def test_a_wildcard_of_another_app_takes_no_other_names(app, mine):
    other = make_app("other")
    add_domain(other, "*.example.com", by=other.owner)
    assert add_domain(app, mine, by=app.owner).app == app


def test_an_app_may_have_a_wildcard_and_names_below_it(app):
    for name in ("*.example.com", "shop.example.com", "*.shop.example.com", "example.com"):
        add_domain(app, name, by=app.owner)
    assert app.domains.count() == 4


def test_there_is_a_limit_to_how_many(app):
    Domain.objects.bulk_create(Domain(app=app, name=f"n{n}.example.com") for n in range(MAX_DOMAINS))
    with pytest.raises(Conflict) as refused:
        add_domain(app, "more.example.com", by=app.owner)
    assert refused.value.id == "too_many_domains"


@pytest.mark.parametrize("name", ["nobody.example.com", "", "\0", "a b"])
def test_a_domain_that_is_not_there_can_not_be_removed(app, name):
    with pytest.raises(NotFound) as refused:
        remove_domain(app, name, by=app.owner)
    assert refused.value.id == "domain_not_found"


def test_what_dns_says_is_written_down(app):
    for name in ("here.example", "*.wild.example", "behind.example", "away.example", "gone.example", "dumb.example"):
        add_domain(app, name, by=app.owner)
    known = {
        "here.example": ["192.0.2.1", "2001:db8::1"],
        "any-name-below.wild.example": ["192.0.2.1"],
        "behind.example": ["203.0.113.1"],  # what the platform's domain leads to as well
        "hello.apps.example": ["203.0.113.1"],
        "away.example": ["198.51.100.9"],
        "dumb.example": None,
    }
    with wiring.replaced(names=MemoryNames(known, own=["192.0.2.1"])):
        check_domains(app)
    states = {each.name: (each.dns_state, each.dns_addresses) for each in app.domains.all()}
    assert states == {
        "here.example": ("here", ["192.0.2.1", "2001:db8::1"]),
        "*.wild.example": ("here", ["192.0.2.1"]),
        "behind.example": ("here", ["203.0.113.1"]),
        "away.example": ("elsewhere", ["198.51.100.9"]),
        "gone.example": ("missing", []),
        "dumb.example": ("unknown", []),
    }
