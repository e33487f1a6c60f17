"""What the engine has of an app, and how it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings

from paas.apps.models import App
from paas.convergence.models import Instance, InstanceState
from runtime.reconcile.spec import APP_ID, HOME, KIND


def labels_of(app: App, kind: str) -> dict[str, str]:
    return {HOME: str(settings.ENV.home), APP_ID: str(app.pk), KIND: kind}


@dataclass(frozen=True, slots=True)
class AppState:
    """An app in one word, and the reason where there is one."""

    word: str
    reason: str = ""


def state_of(app: App, instances: Sequence[Instance], *, is_deploying: bool = False) -> AppState:
    """`app` with its current release. The process that visitors talk to decides: without `web` an app is down."""
    if app.current_release is None or app.current_release.image_id is None:
        return AppState("deploying" if is_deploying else "not deployed")
    crashed = [each for each in instances if each.state == InstanceState.CRASHED]
    reason = "; ".join(f"{each} {each.reason}" for each in crashed)
    served_by = [each for each in instances if each.process == "web"] or list(instances)
    is_up = any(each.state == InstanceState.UP for each in served_by)
    if not instances:
        word = "stopped"
    elif not is_up:
        word = "down" if any(each in crashed for each in served_by) else "starting"
    elif crashed:
        word = "partly up"
    elif app.maintenance:
        word = "maintenance"
    else:
        word = "deploying" if is_deploying else "up"
    return AppState(word, reason)
