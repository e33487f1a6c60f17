"""The ledger: images, the tags that name them, and the releases that run them."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models

from paas.core.crypto import EncryptedJSONField
from paas.core.models import BaseModel


class Image(BaseModel):
    """A built artifact in the registry, known by digest. Immutable."""

    app = models.ForeignKey("apps.App", on_delete=models.CASCADE, related_name="images")
    repository = models.CharField(max_length=200)
    digest = models.CharField(max_length=80)
    size_bytes = models.BigIntegerField()
    layers = models.JSONField(default=list)  # [{"kind", "digest", "size", "reused"}]
    process_types = models.JSONField(default=dict)  # {"web": "gunicorn app:app"}
    release_command = models.TextField(blank=True)
    health_checks = models.JSONField(default=dict)
    exposed_port = models.PositiveIntegerField(default=0)
    uses_launcher = models.BooleanField(default=True)
    has_health_check = models.BooleanField(default=False)
    stack = models.CharField(max_length=40)
    buildpacks = models.JSONField(default=list)
    commit = models.CharField(max_length=64, blank=True)
    commit_subject = models.CharField(max_length=200, blank=True)
    # Set when retention has given it up; from then on nothing can be rolled back to it. The row stays: releases say
    # what they ran. It is in the registry until it has been deleted there as well.
    collected_at = models.DateTimeField(null=True)
    is_in_registry = models.BooleanField(default=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["app", "digest"], name="one_image_per_digest")]

    def __str__(self) -> str:
        return self.digest[:19]


class Tag(BaseModel):
    """A name that points to one image: `v12`, `git-1a2b3c4d5e6f`, `latest`, which are ours, and people's own. A copy of
    it in the registry follows."""

    app = models.ForeignKey("apps.App", on_delete=models.CASCADE, related_name="tags")
    name = models.CharField(max_length=128)
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="tags")
    protected = models.BooleanField(default=False)
    # Whether the registry has been told of the present state, and whether that is: gone.
    is_published = models.BooleanField(default=False)
    is_removed = models.BooleanField(default=False)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["app", "name"], name="one_image_per_tag")]
        indexes = [
            models.Index(fields=["app"], condition=models.Q(is_published=False), name="tags_to_publish"),
        ]

    def __str__(self) -> str:
        return self.name


class ReleaseStatus(models.TextChoices):
    PENDING = "pending"
    RELEASING = "releasing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUPERSEDED = "superseded"


UNFINISHED = (ReleaseStatus.PENDING, ReleaseStatus.RELEASING)


class ReleaseKind(models.TextChoices):
    INITIAL = "initial"
    DEPLOY = "deploy"
    CONFIG = "config"
    PORTS = "ports"
    LIMITS = "limits"
    HEALTH = "health"
    ROLLBACK = "rollback"
    TAG = "tag", "Deploy by tag"
    PROMOTION = "promotion"


class Release(BaseModel):
    """Numbered and whole: image, config, process types, ports, limits, health. Append-only: only the status and its
    reason move, and the pin."""

    app = models.ForeignKey("apps.App", on_delete=models.CASCADE, related_name="releases")
    version = models.PositiveIntegerField()
    kind = models.CharField(max_length=10, choices=ReleaseKind.choices)
    image = models.ForeignKey(Image, null=True, on_delete=models.RESTRICT, related_name="releases")
    config = EncryptedJSONField(default=dict)
    process_types = models.JSONField(default=dict)
    release_command = models.TextField(blank=True)
    # By process type. What the code asks for (app.json) comes with the image; what people have set for a process type
    # stands over it and stays, whatever later deploys ask for, until they take it back.
    health_checks = models.JSONField(default=dict)
    health_overrides = models.JSONField(default=dict)
    # [{"process", "port", "protocol": "tcp"|"udp"|"http", "public_address", "public_port"}]
    ports = models.JSONField(default=list)
    # {process: {"memory_bytes", "cpu_shares"}}, set by people. What is not there is the default; 0 bytes: no limit.
    limits = models.JSONField(default=dict)
    description = models.CharField(max_length=300)
    why = models.CharField(max_length=500, blank=True)  # in the words of who made it
    door = models.CharField(max_length=20, blank=True)
    pinned = models.BooleanField(default=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    copied_from = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="+")
    status = models.CharField(max_length=10, choices=ReleaseStatus.choices, default=ReleaseStatus.PENDING)
    error_id = models.CharField(max_length=60, blank=True)
    reason = models.TextField(blank=True)
    hint = models.TextField(blank=True)
    # The release command runs once: what it ended with, and when.
    command_done_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-version"]
        constraints = [models.UniqueConstraint(fields=["app", "version"], name="one_release_per_version")]

    def __str__(self) -> str:
        return f"v{self.version}"

    @property
    def is_finished(self) -> bool:
        return self.status not in UNFINISHED

    @property
    def health(self) -> dict[str, dict[str, Any]]:
        """The checks that count, by process type."""
        return {**self.health_checks, **self.health_overrides}


class PortBinding(BaseModel):
    """A public port that an app has: one of its current release, or of the one it wishes for. Kept by
    `paas.releases.services`; what is served where stands in `Release.ports`."""

    app = models.ForeignKey("apps.App", on_delete=models.CASCADE, related_name="port_bindings")
    process = models.CharField(max_length=40)
    port = models.PositiveIntegerField()
    protocol = models.CharField(max_length=4)
    public_address = models.CharField(max_length=45)
    public_port = models.PositiveIntegerField()

    class Meta:
        ordering = ["public_port", "protocol", "public_address"]
        constraints = [
            models.UniqueConstraint(
                fields=["public_address", "public_port", "protocol"], name="one_binding_per_public_port"
            )
        ]

    def __str__(self) -> str:
        return f"{self.public_address}:{self.public_port}/{self.protocol}"
