"""Build: one attempt to turn source into an image and a release."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from paas.core.models import BaseModel


class BuildStatus(models.TextChoices):
    PENDING = "pending"
    BUILDING = "building"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


ACTIVE = (BuildStatus.PENDING, BuildStatus.BUILDING)


class Build(BaseModel):
    """Holds what the job needs to finish the push by itself: which ref from what to what, and where the objects wait."""

    app = models.ForeignKey("apps.App", on_delete=models.CASCADE, related_name="builds")
    number = models.PositiveIntegerField()
    status = models.CharField(max_length=10, choices=BuildStatus.choices, default=BuildStatus.PENDING)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    ref = models.CharField(max_length=255)
    old = models.CharField(max_length=64)
    new = models.CharField(max_length=64)
    quarantine = models.CharField(max_length=500, blank=True)
    shallow = models.JSONField(default=list)
    commit_subject = models.CharField(max_length=200, blank=True)
    cancel_requested_at = models.DateTimeField(null=True)
    error_id = models.CharField(max_length=60, blank=True)
    reason = models.TextField(blank=True)
    hint = models.TextField(blank=True)
    image = models.ForeignKey("releases.Image", null=True, on_delete=models.SET_NULL, related_name="builds")
    release = models.ForeignKey("releases.Release", null=True, on_delete=models.SET_NULL, related_name="builds")
    # Seconds: received, queued, built, released, and the builder's own steps.
    seconds = models.JSONField(default=dict)
    # Who works on it, and until when that counts; renewed while the work goes on.
    claimed_by = models.CharField(max_length=80, blank=True)
    claimed_until = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["app", "number"], name="one_build_per_number"),
            models.UniqueConstraint(
                fields=["app"], condition=models.Q(status="building"), name="one_build_at_a_time_per_app"
            ),
        ]

    def __str__(self) -> str:
        return f"build {self.number}"

    @property
    def is_finished(self) -> bool:
        return self.status not in ACTIVE
