"""What differs between two releases, as people read it."""

from __future__ import annotations

import string

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from paas.apps.selectors import repository_path
from paas.releases.diff import MASKED, Contents, ImageFacts, Turn, compare, config_values
from paas.releases.selectors import release_diff, rollback_preview
from paas.releases.services import roll_back
from runtime.errors import Conflict, InvalidInput
from tests.factories import make_app, make_change, make_config, make_image, make_live, make_port, make_release, make_user
from tests.unit.runtime.git.conftest import Work


def layer(number: int, size: int) -> dict[str, object]:
    return {"kind": "source", "digest": f"sha256:{number:064x}", "size": size}


def test_everything_that_differs_is_a_line_of_text():
    old = Contents(
        "v3",
        image=ImageFacts("sha256:aaaa", 48_000_000, "1" * 40, layers=(layer(1, 40_000_000), layer(2, 8_000_000))),
        config={"KEPT": "1", "GONE": "secret", "OTHER": "old secret"},
        process_types={"web": "serve --one", "clock": "tick"},
        ports=[make_port(20001), make_port(20002, protocol="udp")],
        limits={"web": {"memory_bytes": 512 << 20}},
        health={"web": {"kind": "tcp"}},
    )
    new = Contents(
        "v7",
        image=ImageFacts("sha256:bbbb", 47_000_000, "2" * 40, layers=(layer(1, 40_000_000), layer(3, 7_000_000))),
        config={"KEPT": "1", "NEW": "secret", "OTHER": "new secret"},
        process_types={"web": "serve --two", "worker": ""},
        ports=[make_port(20001, port=9001)],
        limits={"web": {"memory_bytes": 256 << 20, "cpu_shares": 512}},
        health={"web": {"kind": "http", "path": "/up", "start_seconds": 60.0}, "worker": {"kind": "uptime"}},
    )
    text = "\n".join(compare(old, new).lines())
    assert text.splitlines() == [
        "code: 11111111 → 22222222, its commits are not in the repository",
        "config GONE removed",
        "config NEW added",
        "config OTHER changed",
        "process clock: removed: tick",
        "process web: serve --one → serve --two",
        "process worker: added: the image's own command",
        "port 0.0.0.0:20001/tcp: web on port 9000 → web on port 9001",
        "port 0.0.0.0:20002/udp: removed: web on port 9000",
        "limit web CPU: added: 0.5 shares",
        "limit web memory: 512 MiB → 256 MiB",
        "health web: answers on its port → GET /up, within 60 s",
        "health worker: added: stays up for 2 s",
        "image: 48.0 MB → 47.0 MB, 1 layer the same (40.0 MB), 1 layer other (7.0 MB)",
    ]
    assert "secret" not in text


def test_two_that_are_alike_say_so():
    contents = Contents("v1", config={"A": "1"}, process_types={"web": "serve"})
    assert compare(contents, contents).is_empty
    assert list(compare(contents, contents).lines()) == ["nothing differs"]


names = st.text(string.ascii_uppercase, min_size=1, max_size=8)
configs = st.dictionaries(names, st.text(max_size=20), max_size=6)


@given(configs, configs)
def test_a_diff_backwards_is_the_diff_mirrored_and_shows_no_value(before, after):
    forwards = compare(Contents("a", config=before), Contents("b", config=after)).config
    backwards = compare(Contents("b", config=after), Contents("a", config=before)).config
    mirror = {Turn.ADDED: Turn.REMOVED, Turn.REMOVED: Turn.ADDED, Turn.CHANGED: Turn.CHANGED}
    assert [(change.subject, mirror[change.turn]) for change in forwards] == [(c.subject, c.turn) for c in backwards]
    assert {value for change in forwards for value in (change.before, change.after)} <= {None, MASKED}
    restored = dict(before)
    for change in config_values(before, after):
        restored.pop(change.subject, None)
        if change.after is not None:
            restored[change.subject] = change.after
    assert restored == after


@pytest.mark.django_db
def test_a_diff_tells_the_commits_between_with_their_messages(tmp_path):
    app = make_app()
    (tmp_path / "work").mkdir()
    work = Work(tmp_path / "work")
    first, second = work.commit("Serve."), work.commit("Serve faster.")
    repository_path(app).parent.mkdir(parents=True, exist_ok=True)
    work.git("clone", "--quiet", "--bare", ".", str(repository_path(app)))
    old = make_release(app, commit=first)
    new = make_release(app, commit=second)
    lines = list(release_diff(app, old, new).lines())
    assert lines[0] == f"code: {first[:8]} → {second[:8]}, forward by 1 commit"
    assert lines[1].startswith(f"  + {second[:8]} Serve faster. (Alice, ")
    assert next(release_diff(app, new, old).lines()).endswith("back by 1 commit")


@pytest.mark.django_db
def test_a_preview_of_a_rollback_is_the_diff_that_the_rollback_then_makes():
    app = make_app()
    make_config(app, GREETING="hi")
    old = make_release(app)
    make_live(make_config(app, GREETING="bye"))
    make_live(make_change(app, ports=[make_port(20001)]))
    present = make_release(app)
    for only in (("code",), ("config",), ("ports", "config"), ("code", "config", "ports", "limits", "health")):
        preview = rollback_preview(app, old, by=app.owner, only=only)
        made = roll_back(app, old, by=app.owner, only=only)
        assert preview.refusal is None
        assert list(preview.diff.lines()) == list(release_diff(app, present, made).lines())
        make_live(made)
        make_live(roll_back(app, present, by=app.owner))


@pytest.mark.django_db
def test_a_preview_says_why_the_rollback_would_be_refused():
    alice = make_user("alice")
    shop, blog = make_app("shop", owner=alice), make_app("blog", owner=alice)
    make_release(shop)
    old = make_change(shop, ports=[make_port(20001)])
    make_live(old)
    make_live(make_change(shop, ports=[]))
    make_change(blog, ports=[make_port(20001)])
    preview = rollback_preview(shop, old, by=alice)
    assert preview.refusal is not None
    assert preview.refusal.id == "port_of_another_app"
    assert [change.subject for change in preview.diff.ports] == ["0.0.0.0:20001/tcp"]
    with pytest.raises(InvalidInput):
        rollback_preview(shop, old, by=alice, only=())


@pytest.mark.django_db
def test_code_whose_image_was_collected_cannot_come_back_but_its_settings_can():
    app = make_app()
    make_config(app, GREETING="hi")
    old = make_release(app, image=make_image(app, collected_at=timezone.now()))
    make_live(make_config(app, GREETING="bye"))
    make_release(app)
    with pytest.raises(Conflict) as caught:
        roll_back(app, old, by=app.owner)
    assert caught.value.id == "image_collected"
    assert roll_back(app, old, by=app.owner, only=("config",)).config == {"GREETING": "hi"}
