"""Pipeline: apps by stage, and the promotions between them."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from paas.core.models import BaseModel


class Stage(models.TextChoices):
    REVIEW = "review"
    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


class Pipeline(BaseModel):
    """Seen by its owner, by admins, and by everybody who sees one of its apps: of the apps each sees their own."""

    name = models.CharField(max_length=30, unique=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="pipelines")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Coupling(BaseModel):
    """An app is in one pipeline at most, in one stage."""

    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="couplings")
    app = models.OneToOneField("apps.App", on_delete=models.CASCADE, related_name="coupling")
    stage = models.CharField(max_length=20, choices=Stage.choices)

    class Meta:
        ordering = ["created_at"]

    def __str__(self) -> str:
        return f"{self.app}: {self.stage}"


class Promotion(BaseModel):
    """The image of a release goes to other apps of the pipeline, each of which keeps its own config."""

    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="promotions")
    source = models.ForeignKey("apps.App", on_delete=models.CASCADE, related_name="promotions")
    release = models.ForeignKey("releases.Release", on_delete=models.CASCADE, related_name="promotions")
    why = models.CharField(max_length=500, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.source} {self.release}"


class PromotionTarget(BaseModel):
    """Pending until it has a release or a reason why it got none; how the release does tells the rest."""

    promotion = models.ForeignKey(Promotion, on_delete=models.CASCADE, related_name="targets")
    app = models.ForeignKey("apps.App", on_delete=models.CASCADE, related_name="promotions_received")
    release = models.ForeignKey("releases.Release", null=True, on_delete=models.SET_NULL, related_name="+")
    error_id = models.CharField(max_length=60, blank=True)
    reason = models.TextField(blank=True)
    hint = models.TextField(blank=True)

    class Meta:
        ordering = ["app__name"]
        constraints = [models.UniqueConstraint(fields=["promotion", "app"], name="one_target_per_app_and_promotion")]

    def __str__(self) -> str:
        return f"{self.promotion} to {self.app}"

    @property
    def is_open(self) -> bool:
        return self.release_id is None and not self.error_id
