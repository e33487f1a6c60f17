"""Build: one attempt to turn source into an image and a release."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from paas.core.crypto import EncryptedJSONField
from paas.core.models import BaseModel


class BuildStatus(models.TextChoices):
    PENDING = "pending"
    BUILDING = "building"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


ACTIVE = (BuildStatus.PENDING, BuildStatus.BUILDING)


class SourceBlob(BaseModel):
    """An archive that somebody uploads, to be built a moment later. Of the secrets in the addresses of the upload and of
    the download only the SHA-256 is kept; the file is in `PAAS_HOME/sources`, by the id of the row."""

    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    put_digest = models.CharField(max_length=64)
    get_digest = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField(null=True)  # null: nothing has been uploaded yet
    upload_until = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.size_bytes} bytes" if self.size_bytes is not None else "not uploaded"


class Build(BaseModel):
    """Holds what the job needs to finish by itself: of a push, which ref goes from what to what, and where the objects
    wait; of an archive, where it is; of images that were pushed, which. `new` is the commit, or what whoever sent an
    archive calls it."""

    app = models.ForeignKey("apps.App", on_delete=models.CASCADE, related_name="builds")
    number = models.PositiveIntegerField()
    status = models.CharField(max_length=10, choices=BuildStatus.choices, default=BuildStatus.PENDING)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    ref = models.CharField(max_length=255, blank=True)  # "": not of a push
    old = models.CharField(max_length=64, blank=True)
    new = models.CharField(max_length=64, blank=True)
    quarantine = models.CharField(max_length=500, blank=True)
    shallow = models.JSONField(default=list)
    commit_subject = models.CharField(max_length=200, blank=True)
    source_blob = models.ForeignKey(SourceBlob, null=True, on_delete=models.SET_NULL, related_name="builds")
    source_url = EncryptedJSONField(default="")  # a signed one gives access to who reads it
    checksum = models.CharField(max_length=80, blank=True)
    buildpacks = models.JSONField(default=list)  # names; [] = those of the app, or of its source
    pushed_images = models.JSONField(default=dict)  # by process type the digest of an image that somebody has made
    # What the source is to git, and the time that its files carry: the same files again are the same image.
    tree_id = models.CharField(max_length=64, blank=True)
    source_time = models.BigIntegerField(null=True)
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
    def is_push(self) -> bool:
        return bool(self.ref)

    @property
    def is_finished(self) -> bool:
        return self.status not in ACTIVE
