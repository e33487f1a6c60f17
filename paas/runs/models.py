"""Run: one command, run by hand."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from paas.core.crypto import EncryptedJSONField
from paas.core.models import BaseModel


class RunStatus(models.TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"


ACTIVE = (RunStatus.PENDING, RunStatus.RUNNING)


class Run(BaseModel):
    """What it prints is in the app's log, as `app[run.7]`."""

    app = models.ForeignKey("apps.App", on_delete=models.CASCADE, related_name="runs")
    number = models.PositiveIntegerField()
    release = models.ForeignKey("releases.Release", null=True, on_delete=models.SET_NULL, related_name="+")
    command = models.TextField()
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    door = models.CharField(max_length=20, blank=True)
    # Somebody holds its terminal or pipes; it ends with them, and has no deadline.
    is_attached = models.BooleanField(default=False)
    has_terminal = models.BooleanField(default=False)
    # Beside the app's config; and the process type whose limits it gets, "" for the platform's, unless it has its own.
    environment = EncryptedJSONField(default=dict)
    process = models.CharField(max_length=63, blank=True)
    limits = models.JSONField(default=dict)  # memory_bytes, cpu_shares
    timeout_seconds = models.PositiveIntegerField(null=True)  # None: the platform's, which is none for those attached
    status = models.CharField(max_length=10, choices=RunStatus.choices, default=RunStatus.PENDING)
    container_id = models.CharField(max_length=80, blank=True)
    exit_code = models.IntegerField(null=True)
    reason = models.TextField(blank=True)
    stop_requested_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["app", "number"], name="one_run_per_number")]

    def __str__(self) -> str:
        return f"run.{self.number}"

    @property
    def is_finished(self) -> bool:
        return self.status not in ACTIVE

    @property
    def seconds(self) -> float | None:
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()
