"""What /-/patterns shows: every component in every state, with made-up values."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.utils import timezone

from paas.convergence.models import Instance
from paas.dashboard.templatetags.dashboard import STATES
from paas.metrics.selectors import Recent

DIGEST = "sha256:9b1c6f0d2a7e4c53b8f1e0a94d7c2b65f3e8d1a07c946b2e5f8a3d0c1b7e6f42"
SOME_HOUR = (3, 4, 2, None, 5, 9, 7, 6, 8, 4, 3, 5)
REMOTE = "http://git.localhost/shop.git"
LOG = """-----> Receiving 14 objects
-----> Python app: requirements.txt
       Using Python 3.13
       Dependencies are those of build 41
-----> Releasing v42
       start web.1 of v42
       web.1 is healthy
 !     worker.1 exited with 1.
 !     Its last line was: ModuleNotFoundError: No module named 'shop.tasks'
 !     Add the module, or take `worker` out of the Procfile.""".splitlines()
DIFF = [
    {"sign": "change", "name": "commit", "before": "4be7a19c02d1", "after": "9f0c2d8e71b3 Retry payments that time out"},
    {"sign": "add", "name": "PAYMENT_TIMEOUT", "before": "", "after": "••••••••"},
    {"sign": "change", "name": "DATABASE_URL", "before": "••••••••", "after": "••••••••"},
    {"sign": "remove", "name": "LEGACY_GATEWAY", "before": "••••••••", "after": ""},
    {"sign": "change", "name": "image size", "before": "48.2 MB", "after": "49.0 MB"},
]


class ExampleForm(forms.Form):
    name = forms.CharField(
        max_length=30, help_text="Lower-case letters, digits and single dashes.",
        widget=forms.TextInput(attrs={"class": "input-mono", "autocomplete": "off"}),
    )  # fmt: skip
    branch = forms.CharField(required=False, initial="main", label="Deploy branch")
    runtime = forms.ChoiceField(choices=[("runc", "runc"), ("runsc", "gVisor")], help_text="How instances are isolated.")
    notes = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), required=False)


def _overview(now: datetime) -> dict[str, Any]:
    alice = SimpleNamespace(email="alice@example.com")
    image = SimpleNamespace(
        commit="9f0c2d8e71b34ac05d6e8f7a1b2c3d4e5f607182", commit_subject="Retry payments that time out", digest=DIGEST,
        size_bytes=49_000_000, buildpacks=["python"], stack="debian-13",
    )  # fmt: skip

    def release(
        version: int, ago: timedelta, description: str, status: str = "succeeded", **more: Any
    ) -> SimpleNamespace:
        values = {
            "created_by": alice,
            "door": "git",
            "why": "",
            "reason": "",
            "pinned": False,
            "image": image,
            "kind": "deploy",
        }
        return SimpleNamespace(
            pk=version, version=version, created_at=now - ago, finished_at=now - ago, description=description,
            status=status, **(values | more),
        )  # fmt: skip

    releases = [
        release(
            43, timedelta(minutes=3), "Deploy 1c9d03f4 Send receipts by mail", "failed",
            reason="worker.1 exited with 1. Its last line was: ModuleNotFoundError: No module named 'shop.tasks'",
        ),
        release(42, timedelta(hours=2), "Deploy 9f0c2d8e Retry payments that time out"),
        release(
            41, timedelta(hours=26), "Set PAYMENT_TIMEOUT, remove LEGACY_GATEWAY", door="dashboard",
            why="The old gateway closes at the end of the month.",
        ),
        release(40, timedelta(days=3), "Rollback to v38", door="cli"),
        release(38, timedelta(days=4), "Deploy 4be7a19c Round totals to cents", pinned=True),
    ]  # fmt: skip
    builds = [
        SimpleNamespace(
            number=number, new=commit, commit_subject=subject, status=status, created_at=now - ago,
            started_at=now - ago, finished_at=now - ago + timedelta(seconds=seconds), release=became,
        )
        for number, commit, subject, status, ago, seconds, became in (
            (19, "1c9d03f48a21", "Send receipts by mail", "failed", timedelta(minutes=4), 31, None),
            (18, "9f0c2d8e71b3", "Retry payments that time out", "succeeded", timedelta(hours=2), 8.4, releases[1]),
        )
    ]  # fmt: skip
    return {
        "app": SimpleNamespace(name="shop", deploy_branch="main", owner=alice, created_at=now - timedelta(days=90)),
        "state": SimpleNamespace(word="partly up"),
        "current": releases[1],
        "news": [
            SimpleNamespace(
                tone="bad", title="worker.1 is down.",
                text="It exited with 137, ran out of memory; crashed 4 times, the next try is at 14:02:10 UTC.", hint="",
            ),
            SimpleNamespace(
                tone="bad", title="v43 was not released. Visitors still see v42.", text=releases[0].reason,
                hint="Add the module, or take `worker` out of the Procfile.", link_url="#log", link_label="See its log",
            ),
        ],
        "instances": [
            Instance(process=process, index=index, state=state, release_version=42, since=now - timedelta(hours=2))
            for process, index, state in (("web", 1, "up"), ("web", 2, "up"), ("worker", 1, "crashed"))
        ],
        "processes": [
            SimpleNamespace(process="web", command="gunicorn shop.wsgi --workers 2"),
            SimpleNamespace(process="worker", command="celery -A shop worker"),
        ],
        "releases": releases,
        "builds": builds,
        "requests": Recent(1284, SOME_HOUR),
        "remote": REMOTE,
    }  # fmt: skip


def _pipeline(now: datetime) -> dict[str, Any]:
    def place(name: str, version: int, subject: str, ago: timedelta) -> SimpleNamespace:
        image = SimpleNamespace(commit="9f0c2d8e71b34ac05d6e8f7a1b2c3d4e5f607182", commit_subject=subject)
        return SimpleNamespace(
            app=SimpleNamespace(name=name),
            release=SimpleNamespace(version=version) if version else None,
            image=image if version else None,
            since=now - ago,
        )

    staging = place("shop-staging", 43, "Send receipts by mail", timedelta(minutes=20))
    shop = place("shop", 42, "Retry payments that time out", timedelta(hours=26))
    cards = [
        SimpleNamespace(place=staging, upstream=None, differs=False, may_promote=True),
        SimpleNamespace(place=shop, upstream=staging.app, differs=True, may_promote=False),
        SimpleNamespace(
            place=place("shop-eu", 12, "Send receipts by mail", timedelta(minutes=2)), upstream=staging.app,
            differs=False, may_promote=False,
        ),
        SimpleNamespace(place=place("shop-new", 0, "", timedelta()), upstream=None, differs=False, may_promote=False),
    ]  # fmt: skip
    alice = SimpleNamespace(email="alice@example.com")
    promotion = SimpleNamespace(
        release="v43", source=staging.app, why="The mail gateway is ready.", created_by=alice, created_at=now
    )
    results = [
        SimpleNamespace(app=shop.app, release=SimpleNamespace(version=43), status="pending", reason="", hint=""),
        SimpleNamespace(
            app=SimpleNamespace(name="shop-eu"), release=SimpleNamespace(version=12), status="succeeded", reason=""
        ),
        SimpleNamespace(
            app=SimpleNamespace(name="shop-new"), release=SimpleNamespace(version=1), status="failed",
            reason="web.1 exited with 1. Its last line was: KeyError: 'DATABASE_URL'", hint="",
        ),
    ]  # fmt: skip
    return {"name": "shop", "cards": cards, "promotion": promotion, "results": results}


CONFIG = [
    {"name": "DATABASE_URL", "when": "v12", "shown": ""},
    {"name": "DJANGO_SETTINGS_MODULE", "when": "v1", "shown": "shop.settings"},
    {"name": "PAYMENT_TIMEOUT", "when": "v41", "shown": ""},
    {"name": "SECRET_KEY", "when": "v1", "shown": ""},
]


def context() -> dict[str, Any]:
    now = timezone.now()
    return {
        "overview": _overview(now),
        "pipeline": _pipeline(now),
        "config": CONFIG,
        "states": list(STATES),
        "sparkline": SOME_HOUR,
        "form": ExampleForm(prefix="blank"),
        "bound_form": ExampleForm({"bad-name": "", "bad-runtime": "kata"}, prefix="bad"),
        "digest": DIGEST,
        "remote": REMOTE,
        "first_push": f"git remote add paas {REMOTE}\ngit push paas main",
        "log": LOG,
        "diff": DIFF,
        "config_diff": DIFF[1:4],
        "rollback_diff": DIFF[2:4],
        "page": Paginator(range(240), 20).page(3),
        "moments": [now - timedelta(seconds=s) for s in (2, 44, 260, 7300, 400_000)] + [now + timedelta(minutes=7)],
        "processes": [
            {"name": "web", "quantity": 2, "memory": 512, "share": 61, "state": "up"},
            {"name": "worker", "quantity": 1, "memory": 1024, "share": 88, "state": "crashed"},
            {"name": "clock", "quantity": 0, "memory": 128, "share": 0, "state": "stopped"},
        ],
    }
