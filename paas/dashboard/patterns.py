"""What /-/patterns shows: every component in every state, with made-up values."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.utils import timezone

from paas.dashboard.templatetags.dashboard import STATES

DIGEST = "sha256:9b1c6f0d2a7e4c53b8f1e0a94d7c2b65f3e8d1a07c946b2e5f8a3d0c1b7e6f42"
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


def context() -> dict[str, Any]:
    now = timezone.now()
    return {
        "states": list(STATES),
        "form": ExampleForm(prefix="blank"),
        "bound_form": ExampleForm({"bad-name": "", "bad-runtime": "kata"}, prefix="bad"),
        "digest": DIGEST,
        "remote": REMOTE,
        "first_push": f"git remote add paas {REMOTE}\ngit push paas main",
        "log": LOG,
        "diff": DIFF,
        "page": Paginator(range(240), 20).page(3),
        "moments": [now - timedelta(seconds=s) for s in (2, 44, 260, 7300, 400_000)] + [now + timedelta(minutes=7)],
        "processes": [
            {"name": "web", "quantity": 2, "memory": 512, "share": 61, "state": "up"},
            {"name": "worker", "quantity": 1, "memory": 1024, "share": 88, "state": "crashed"},
            {"name": "clock", "quantity": 0, "memory": 128, "share": 0, "state": "stopped"},
        ],
    }
