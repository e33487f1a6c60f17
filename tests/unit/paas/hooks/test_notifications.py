"""Who is told what, once, in words."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.utils import timezone

from paas.apps.models import Role
from paas.apps.services import add_collaborator, remove_collaborator
from paas.convergence.events import tell_instance
from paas.convergence.models import Instance, InstanceState
from paas.core.models import AuditEvent
from paas.hooks.models import Channel, Message, MessageStatus, Topic, Trouble
from paas.hooks.services import notices
from paas.hooks.services.notifications import (
    add_mailbox,
    add_room,
    card,
    change_topics,
    chat_text,
    remove_channel,
    send_test,
)
from paas.releases.services import fail_release
from runtime.errors import BootFailed, Conflict, InvalidInput
from runtime.outbound.api import NotReached
from tests.factories import make_app, make_config, make_live, make_release, make_user

pytestmark = pytest.mark.django_db
ROOM = "https://chat.example.com/hooks/sesame"
ALL = ["deploy_failed", "crash_loop", "recovered", "deployed"]


@pytest.fixture
def app():
    return make_app()


def texts(outbound):
    return [json.loads(each.body)["text"] for each in outbound.requests]


def crash(app, times, name="web", version=1):
    row, _ = Instance.objects.get_or_create(app=app, process=name, index=1, release_version=version)
    row.state, row.crashes, row.reason = InstanceState.CRASHED, times, "exited with 1"
    row.save()
    tell_instance(app, row, "update")


def recover(app, *, for_seconds=61):
    Instance.objects.filter(app=app).update(
        state=InstanceState.UP, reason="", since=timezone.now() - timedelta(seconds=for_seconds)
    )
    notices.close_troubles()


def test_a_failed_deploy_is_told_with_its_reason(app, outbound, work):
    add_room(app, url=ROOM, topics=["deploy_failed"], by=app.owner)
    release = make_release(app, live=False)
    fail_release(release, BootFailed("web.1 exited with 1.", hint="Look at its log."))
    work()
    (text,) = texts(outbound)
    assert "hello: v1 failed" in text
    assert "web.1 exited with 1." in text
    assert "/apps/hello/releases/1" in text


def test_a_deploy_that_succeeded_is_told_to_those_who_chose_it(app, outbound, work):
    add_room(app, url=ROOM, topics=["deployed"], by=app.owner)
    make_release(app)
    make_live(make_config(app, COLOUR="blue"))  # no deploy
    work()
    (text,) = texts(outbound)
    assert "hello: v1 is live" in text


def test_a_crash_loop_is_one_message_and_its_end_another(app, outbound, work):
    make_release(app)
    add_room(app, url=ROOM, topics=ALL[1:3], by=app.owner)
    for times in range(1, 100):
        crash(app, times)
        work()
    (text,) = texts(outbound)
    assert "web.1 of v1 has crashed 3 times in a row" in text
    recover(app, for_seconds=20)
    work()
    assert len(outbound.requests) == 1
    recover(app)
    work()
    assert "hello is well again" in texts(outbound)[1]


def test_a_loop_that_comes_and_goes_is_told_once_an_hour(app, outbound, work):
    make_release(app)
    add_room(app, url=ROOM, topics=["crash_loop"], by=app.owner)
    for _ in range(5):
        crash(app, 3)
        work()
        recover(app)
    assert len(outbound.requests) == 1
    Trouble.objects.update(created_at=timezone.now() - timedelta(hours=2))
    crash(app, 3)
    work()
    assert len(outbound.requests) == 2


def test_one_or_two_crashes_are_no_loop(app, outbound, work):
    add_room(app, url=ROOM, topics=ALL, by=app.owner)
    crash(app, 2)
    work()
    assert outbound.requests == []


def test_a_room_gets_no_more_than_thirty_messages_an_hour(app, outbound, work):
    channel = add_room(app, url=ROOM, topics=ALL, by=app.owner)
    for number in range(40):
        notices.tell(app, Topic.DEPLOYED, f"Number {number}", "It is live.", "", key=f"key:{number}")
    work()
    assert len(outbound.requests) == 30
    assert "left out" in texts(outbound)[-1]
    assert channel.messages.count() == 30


def test_a_room_that_is_away_is_tried_again_and_one_that_is_gone_is_not(app, outbound, work, later):
    add_room(app, url=ROOM, topics=ALL, by=app.owner)
    outbound.answers = [NotReached("Nobody is there."), 503, 200, 404]
    notices.tell(app, Topic.DEPLOYED, "One", "", "", key="1")
    for _ in range(4):
        work()
        later(hours=1)
    assert Message.objects.get().status == MessageStatus.SENT
    notices.tell(app, Topic.DEPLOYED, "Two", "", "", key="2")
    work()
    later(hours=9)
    work()
    assert len(outbound.requests) == 4
    assert Message.objects.get(key="2").status == MessageStatus.FAILED


def test_what_an_app_printed_calls_nobody_and_makes_no_links():
    text = chat_text("s", "<!channel> @everyone <http://evil|click> & more", "https://x.example/")["text"]
    assert "<" not in text
    assert "@everyone" not in text
    assert text.endswith("https://x.example/")


def test_teams_gets_a_card(app, outbound, work):
    add_room(app, url=ROOM, kind="teams", topics=ALL, by=app.owner)
    make_release(app)
    work()
    body = json.loads(outbound.requests[0].body)
    assert body["attachments"][0]["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert card("s", "t", "l")["attachments"][0]["content"]["body"][0]["text"] == "s"


def test_discord_takes_it_at_another_address(app):
    channel = add_room(app, url="https://discord.com/api/webhooks/123/abc-DEF_1", topics=ALL, by=app.owner)
    assert channel.url == "https://discord.com/api/webhooks/123/abc-DEF_1/slack"


def test_a_person_gets_mail_about_apps_they_may_see(app, work, mails):
    bob = make_user("bob")
    collaborator = add_collaborator(app, bob, Role.VIEWER, by=app.owner)
    add_mailbox(app, topics=["deployed"], by=bob)
    make_release(app)
    work()
    (mail,) = mails
    assert (mail["To"], mail["From"]) == ("bob@example.com", "paas@example.com")
    assert "hello: v1 is live" in mail["Subject"]
    remove_collaborator(collaborator, by=app.owner)
    make_release(app)
    work()
    assert len(mails) == 1


def test_without_a_mail_server_no_mail_waits(app, work):
    add_mailbox(app, topics=["deployed"], by=app.owner)
    make_release(app)
    work()
    assert not Message.objects.exists()
    with pytest.raises(Conflict) as caught:
        send_test(Channel.objects.get(), by=app.owner)
    assert caught.value.id == "mail_off"


def test_the_owner_of_a_webhook_that_was_switched_off_is_mailed(app, mails, work):
    from paas.hooks.services.webhooks import add_webhook

    webhook, _ = add_webhook(app, url=ROOM, include=["api:app"], by=app.owner)
    notices.notice_of_switched_off(webhook)
    work()
    assert [(mail["To"], mail["Subject"]) for mail in mails] == [(app.owner.email, "hello: a webhook was switched off")]


def test_a_test_tells_at_once_what_came_of_it(app, outbound):
    channel = add_room(app, url=ROOM, topics=ALL, by=app.owner)
    assert send_test(channel, by=app.owner).status == MessageStatus.SENT
    outbound.answers = [403]
    with pytest.raises(Conflict, match="403"):
        send_test(channel, by=app.owner)


def test_a_full_disk_is_told_once_to_admins(app, outbound, work, monkeypatch):
    admin = make_user("admin", is_admin=True)
    add_room(None, url=ROOM, topics=["disk"], by=admin)
    usage = SimpleNamespace(total=100, free=5)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    for _ in range(3):
        notices.watch_disk(Path("/"))
        work()
    (text,) = texts(outbound)
    assert "95 %" in text
    usage.free = 50
    notices.watch_disk(Path("/"))
    assert not Trouble.objects.filter(over_at=None).exists()


def test_a_channel_is_about_something_and_its_address_stays_secret(app):
    with pytest.raises(InvalidInput):
        add_room(app, url=ROOM, topics=[], by=app.owner)
    with pytest.raises(InvalidInput):
        add_room(app, url=ROOM, topics=["disk"], by=app.owner)
    with pytest.raises(InvalidInput):
        add_room(app, url="https://10.0.0.1/", topics=ALL, by=app.owner)
    channel = add_room(app, url=ROOM, topics=ALL, by=app.owner)
    change_topics(channel, ["deployed"], by=app.owner)
    change_topics(channel, ["deployed"], by=app.owner)
    remove_channel(channel, by=app.owner)
    events = AuditEvent.objects.filter(action__startswith="notifications.")
    assert events.count() == 3
    assert "sesame" not in "".join(json.dumps([each.before, each.after]) + each.text for each in events)


def test_nobody_is_put_on_the_list_twice(app):
    add_mailbox(app, topics=ALL, by=app.owner)
    with pytest.raises(Conflict):
        add_mailbox(app, topics=ALL, by=app.owner)
