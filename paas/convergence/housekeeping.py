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
from paas.builds.sources import forget_sources
from paas.convergence.cleanup import clean_up
from paas.core import audit
from paas.core.redis import lease
from paas.routing.services import check_domains
from runtime.errors import Conflict, EngineError, Failure, RegistryError
from runtime.git.repository import housekeep

log = structlog.get_logger()


def tidy() -> None:
    """Pack repositories, drop quarantines nobody finished, old build logs, expired images and unused caches, and what ran
    out: sessions, tokens, invitations, uploads, the oldest part of the audit log."""
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
            check_domains(app)
        forget_expired()
        forget_invitations()
        forget_sources()
        if settings.ENV.audit_days:
            audit.forget_before(timezone.now() - timedelta(days=settings.ENV.audit_days))
        try:
            clean_up(by=None, check=held.check)
        except (Conflict, RegistryError, EngineError) as exc:
            log.warning("not_cleaned_up", error=exc.id, reason=exc.message)  # tomorrow, then
