"""What a machine gathers over time and nobody needs: once a day, off the path of any deploy."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.conf import settings
from django.utils import timezone

from paas.accounts.services import forget_expired
from paas.apps.models import App
from paas.apps.selectors import repository_path
from paas.apps.services import forget_invitations
from paas.builds.models import ACTIVE
from paas.builds.services import forget_builds
from paas.core import audit
from paas.core.redis import lease
from paas.wiring import builder
from runtime.errors import Failure
from runtime.git.repository import housekeep

log = structlog.get_logger()
CACHE_SECONDS = 30 * 86400


def tidy() -> None:
    """Pack repositories, drop quarantines nobody finished, old build logs and dependency layers unused for a month, and
    what ran out: sessions, tokens, invitations, the oldest part of the audit log."""
    with lease("tidy") as held:
        if held is None:
            return
        for app in App.objects.filter(destroyed_at__isnull=True):
            held.check()
            forget_builds(app)
            repository = repository_path(app)
            if repository.exists() and not app.builds.filter(status__in=ACTIVE).exists():
                try:
                    housekeep(repository)
                except Failure as exc:
                    log.warning("repository_not_tidied", app=app.name, reason=exc.message)
        forget_expired()
        forget_invitations()
        if settings.ENV.audit_days:
            audit.forget_before(timezone.now() - timedelta(days=settings.ENV.audit_days))
        dropped = builder().prune(CACHE_SECONDS)
        log.info("tidied", cache_entries_dropped=dropped)
