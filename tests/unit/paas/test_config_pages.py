"""The config pages: masked until asked, previewed before applied, nothing typed is lost, nothing secret stays behind."""

from __future__ import annotations

import html
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from paas.accounts.models import Session
from paas.accounts.sessions import SessionStore
from paas.apps.models import Collaborator, Role
from paas.config.selectors import present_config
from paas.core.models import AuditEvent
from tests.factories import make_app, make_config, make_release, make_user

pytestmark = pytest.mark.django_db

PAGE = "/apps/hello/config"
SECRET = "hunter2-s3cr3t"
ACTIONS = ("reveal", "set", "unset", "export", "text", "preview", "apply")


@pytest.fixture
def app():
    app = make_app(owner=make_user("alice"))
    make_config(app, API_KEY=SECRET, MODE="production")
    return app


@pytest.fixture
def alice(app):
    client = Client()
    client.force_login(app.owner)
    return client


def signed_in(app, role, name="bob"):
    bob = make_user(name)
    Collaborator.objects.create(app=app, user=bob, role=role)
    client = Client()
    client.force_login(bob)
    return client


def shown(answer):
    """What a person sees, and what is in the fields."""
    return html.unescape(answer.content.decode())


def field(answer, name):
    """What a browser has in a text field: it leaves out one line feed at the beginning."""
    match = re.search(rf'<textarea[^>]* ?name="{name}"[^>]*>\n?(.*?)</textarea>', answer.content.decode(), re.DOTALL)
    assert match is not None
    return html.unescape(match.group(1))


def seen(answer):
    match = re.search(r'name="seen" value="(\d+)"', answer.content.decode())
    assert match is not None
    return match.group(1)


def propose(client, text, *, others="goes", version=None, **more):
    version = version or seen(client.get(f"{PAGE}/text"))
    return client.post(f"{PAGE}/preview", {"text": text, "others": others, "seen": version, **more})


def apply(client, preview):
    fields = {"text": field(preview, "text"), "seen": seen(preview)}
    match = re.search(r'name="others" value="(\w+)"', preview.content.decode())
    assert match is not None
    return client.post(f"{PAGE}/apply", {**fields, "others": match.group(1)}, follow=True)


@pytest.mark.parametrize("role", Role)
def test_values_are_hidden_from_everybody_until_asked_for(app, role):
    page = shown(signed_in(app, role).get(PAGE))
    assert "API_KEY" in page
    assert SECRET not in page
    assert ("Reveal all" in page) == (role >= Role.OPERATOR)


def test_charlie_gets_a_404_and_a_viewer_a_403_for_whatever_changes_or_shows(app):
    charlie = Client()
    charlie.force_login(make_user("charlie"))
    viewer = signed_in(app, Role.VIEWER)
    assert charlie.get(PAGE).status_code == 404
    for action in ACTIONS:
        assert charlie.post(f"{PAGE}/{action}", {"text": "A=1"}).status_code == 404, action
        assert viewer.post(f"{PAGE}/{action}", {"text": "A=1"}).status_code == 403, action
    assert viewer.get(f"{PAGE}/text").status_code == 403
    assert present_config(app).version == 1


def test_nothing_happens_without_a_session_or_a_token(app):
    strict = Client(enforce_csrf_checks=True)
    for action in ACTIONS:
        assert strict.post(f"{PAGE}/{action}").status_code == 403, action
        assert Client().post(f"{PAGE}/{action}").headers["Location"].startswith("/login"), action


def test_whoever_comes_back_to_a_forms_address_is_shown_the_config(alice):
    for action in ACTIONS:
        answer = alice.get(f"{PAGE}/{action}")
        assert answer.status_code == 200 if action == "text" else answer.headers["Location"] == PAGE


def test_one_value_is_revealed_and_the_audit_log_says_which(app, alice):
    answer = alice.post(f"{PAGE}/reveal", {"name": "API_KEY"})
    page = shown(answer)
    assert SECRET in page
    assert "production" not in page
    assert "no-store" in answer.headers["Cache-Control"]
    event = AuditEvent.objects.get(action="config.reveal")
    assert (event.detail["names"], event.actor) == (["API_KEY"], app.owner)


def test_all_values_are_revealed_at_once(alice):
    page = shown(alice.post(f"{PAGE}/reveal"))
    assert SECRET in page
    assert "production" in page
    assert "Hide all" in page


def test_a_var_that_is_not_there_cannot_be_revealed(alice):
    assert alice.post(f"{PAGE}/reveal", {"name": "NOPE"}).status_code == 404


def test_a_var_is_added_and_removed(app, alice):
    page = shown(alice.post(f"{PAGE}/set", {"name": "NEW", "value": "1"}, follow=True))
    assert "Saved as v2." in page
    alice.post(f"{PAGE}/unset", {"name": "MODE"})
    assert present_config(app).values == {"API_KEY": SECRET, "NEW": "1"}
    assert "Nothing changes" in shown(alice.post(f"{PAGE}/set", {"name": "NEW", "value": "1"}, follow=True))


@pytest.mark.parametrize("value", ["one\ntwo\n", " blanks ", "", "\n\nfirst", "<b>&amp;\"'</textarea>", "ä😀\u2028"])
def test_a_value_comes_back_from_its_field_as_it_was(app, alice, value):
    make_config(app, VALUE=value)
    form = alice.post(f"{PAGE}/reveal", {"name": "VALUE", "edit": "1"})
    # as a browser sends it
    alice.post(f"{PAGE}/set", {"name": "VALUE", "value": field(form, "value").replace("\n", "\r\n")})
    assert present_config(app).values["VALUE"] == value


def test_a_value_with_carriage_returns_is_only_edited_as_text(app, alice):
    make_config(app, VALUE="a\r\nb")
    assert "carriage returns" in shown(alice.post(f"{PAGE}/reveal", {"name": "VALUE", "edit": "1"}))
    text = field(alice.post(f"{PAGE}/text"), "text")
    assert "Nothing would change" in shown(propose(alice, text.replace("\n", "\r\n")))


@pytest.mark.parametrize(("name", "value"), [("1A", "x"), ("PORT", "1"), ("A", "x" * 40_000), ("", "x"), ("A", "\0")])
def test_what_cannot_be_set_is_said_and_what_was_typed_is_kept(app, alice, name, value):
    answer = alice.post(f"{PAGE}/set", {"name": name, "value": value})
    assert answer.status_code == 422
    assert "field-error" in shown(answer)
    assert f'value="{name}"' in shown(answer)
    assert present_config(app).version == 1


def test_the_text_shows_dots_until_the_values_are_asked_for(alice):
    answer = alice.get(f"{PAGE}/text")
    assert field(answer, "text") == "API_KEY=••••••\nMODE=••••••\n"
    assert not AuditEvent.objects.filter(action="config.reveal").exists()
    assert field(alice.post(f"{PAGE}/text"), "text") == f"API_KEY={SECRET}\nMODE=production\n"
    assert AuditEvent.objects.filter(action="config.reveal").exists()


def test_many_changes_are_previewed_masked_and_become_one_release(app, alice):
    preview = propose(alice, "API_KEY=••••••\nMODE=staging\nNEW='two\r\nlines'\n")
    page = shown(preview)
    assert preview.status_code == 200
    assert re.search(r"Changed:</span> MODE", page)
    assert re.search(r"Added:</span> NEW", page)
    assert "Unchanged: API_KEY" in page
    assert SECRET not in page
    assert page.count("staging") == 1, "in the hidden field and nowhere else"
    assert "Saved as v2." in shown(apply(alice, preview))
    assert present_config(app).values == {"API_KEY": SECRET, "MODE": "staging", "NEW": "two\nlines"}


def test_what_the_text_leaves_out_goes_or_stays_as_chosen(app, alice):
    preview = propose(alice, "NEW=1", others="stays")
    assert "Removed:" not in shown(preview)
    apply(alice, preview)
    assert set(present_config(app).values) == {"API_KEY", "MODE", "NEW"}
    preview = propose(alice, "NEW=••••••", others="goes")
    assert shown(preview).count("Removed:") == 2
    apply(alice, preview)
    assert present_config(app).values == {"NEW": "1"}


def test_a_file_takes_the_place_of_the_text(app, alice):
    file = SimpleUploadedFile("prod.env", b"\xef\xbb\xbfexport MODE='a b' # why\r\nMODE=c\r\n")
    preview = propose(alice, "OTHER=1", others="stays", file=file)
    assert "MODE is there more than once: line 2 counts, not 1." in shown(preview)
    apply(alice, preview)
    assert present_config(app).values == {"API_KEY": SECRET, "MODE": "c"}


@pytest.mark.parametrize(
    ("content", "words"), [(b"A=\xff", "not UTF-8"), (b"A=1\n" * 200_000, "the limit is"), (b"A=1\noops", "Line 2")]
)
def test_a_file_that_cannot_be_read_is_refused_in_words(alice, content, words):
    answer = propose(alice, "", file=SimpleUploadedFile("prod.env", content))
    assert answer.status_code == 422
    assert words in shown(answer)


def test_a_mistake_in_the_text_is_said_with_its_line_and_the_text_is_kept(app, alice):
    text = f"API_KEY={SECRET}\nthis is no var\nA='open"
    answer = propose(alice, text)
    assert answer.status_code == 422
    assert "Line 2 is not NAME=value." in shown(answer)
    assert "Line 3" in shown(answer)
    assert field(answer, "text") == text


def test_dots_for_a_var_that_is_not_there_are_a_mistake(alice):
    assert "NEW has no value yet" in shown(propose(alice, "NEW=••••••"))


def test_a_change_made_meanwhile_is_not_overwritten_and_what_was_typed_is_kept(app, alice):
    preview = propose(alice, "MODE=mine\nAPI_KEY=••••••\n")
    make_config(app, MODE="theirs", EXTRA="1")
    answer = apply(alice, preview)
    assert answer.status_code == 409
    assert "that was v1, now it is v2: Set EXTRA, MODE." in shown(answer)
    assert field(answer, "text") == "MODE=mine\nAPI_KEY=••••••\n"
    assert re.search(r"Removed:</span> EXTRA", shown(answer))
    assert present_config(app).values["MODE"] == "theirs"
    apply(alice, answer)
    assert present_config(app).values == {"API_KEY": SECRET, "MODE": "mine"}


def test_a_change_made_while_somebody_typed_is_said_in_the_preview(app, alice):
    version = seen(alice.get(f"{PAGE}/text"))
    make_config(app, MODE="theirs")
    answer = propose(alice, "MODE=mine\nAPI_KEY=••••••\n", version=version)
    assert answer.status_code == 409
    assert "has changed since you looked at it" in shown(answer)


def test_the_text_is_kept_on_the_way_back_from_the_preview(alice):
    preview = propose(alice, "MODE=mine", others="stays")
    back = alice.post(f"{PAGE}/text", {"text": field(preview, "text"), "seen": seen(preview), "others": "stays"})
    assert field(back, "text") == "MODE=mine"
    assert re.search(r'value="stays"[^>]* checked', back.content.decode())


def test_the_download_is_a_file_that_no_cache_keeps_and_the_audit_log_knows(alice):
    answer = alice.post(f"{PAGE}/export")
    assert answer.content.decode() == f"API_KEY={SECRET}\nMODE=production\n"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="hello.env"'
    assert "no-store" in answer.headers["Cache-Control"]
    assert AuditEvent.objects.get(action="config.export").detail["names"] == ["API_KEY", "MODE"]


def test_no_value_stays_in_a_session_or_the_audit_log(app, alice):
    alice.post(f"{PAGE}/set", {"name": f"not a name {SECRET}", "value": SECRET})
    alice.post(f"{PAGE}/set", {"name": "API_KEY", "value": SECRET + "x" * 40_000}, headers={"referer": PAGE})
    alice.post(f"{PAGE}/reveal")
    apply(alice, propose(alice, f"A={SECRET}\nA={SECRET}1"))
    propose(alice, f"{SECRET} = ' {SECRET}")
    kept = [str(SessionStore().decode(session.session_data)) for session in Session.objects.all()]
    kept += [str(event.detail) for event in AuditEvent.objects.all()]
    assert not [text for text in kept if SECRET in text]


def test_the_history_says_who_changed_which_names(app, alice):
    make_release(app)
    make_config(app, MODE=None, NEW="1")
    page = shown(alice.get(PAGE))
    assert re.search(
        r">v3</a></th>.*?Added <code>NEW</code>.*?Removed <code>MODE</code>.*?alice@example.com", page, re.DOTALL
    )
    assert not re.search(r">v2</a></th>", page)


def test_an_app_without_config_is_told_what_to_do(alice, app):
    make_app("empty", owner=app.owner)
    page = shown(alice.get("/apps/empty/config"))
    assert "No config vars yet" in page
    assert "paas config:set NAME=value -a empty" in page


def test_the_page_asks_the_database_as_often_for_many_vars_and_releases(app, alice):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            alice.get(PAGE)
        return len(captured)

    queries()  # the session is touched now and not again soon
    few = queries()
    for number in range(30):
        make_config(app, **{f"VAR_{number}": "1"})
    assert queries() == few
