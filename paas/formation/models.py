"""How many of each process type. How big each is stands in the release."""

from __future__ import annotations

from django.db import models

from paas.core.models import BaseModel


class ProcessScale(BaseModel):
    """Follows load, not code: it belongs to the app and survives deploys and rollbacks. No row means one."""

    app = models.ForeignKey("apps.App", on_delete=models.CASCADE, related_name="scales")
    process = models.CharField(max_length=40)
    quantity = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["app", "process"], name="one_scale_per_process")]

    def __str__(self) -> str:
        return f"{self.process}={self.quantity}"
