"""What convergence remembers between two looks. All of it is disposable: the next sweep writes it anew."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from paas.core.models import BaseModel


class InstanceState(models.TextChoices):
    STARTING = "starting"
    UP = "up"
    CRASHED = "crashed"


class Instance(BaseModel):
    """One running process, `web.1`, as people see it; and what the plan has to remember of it, for the back-off."""

    app = models.ForeignKey("apps.App", on_delete=models.CASCADE, related_name="instances")
    process = models.CharField(max_length=40)
    index = models.PositiveIntegerField()
    release_version = models.PositiveIntegerField(default=0)
    container_id = models.CharField(max_length=64, blank=True)
    address = models.CharField(max_length=40, blank=True)
    state = models.CharField(max_length=10, choices=InstanceState.choices)
    reason = models.TextField(blank=True)
    since = models.DateTimeField(default=timezone.now)
    # runtime.reconcile.observe.InstanceMemory: version, crashes, container_id, not_before.
    crash_version = models.CharField(max_length=80, blank=True)
    crash_container_id = models.CharField(max_length=64, blank=True)
    crashes = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField(null=True)

    class Meta:
        ordering = ["process", "index"]
        constraints = [models.UniqueConstraint(fields=["app", "process", "index"], name="one_row_per_instance")]

    def __str__(self) -> str:
        return f"{self.process}.{self.index}"


class Retirement(models.Model):
    """A container that is being drained and stopped. After the deadline somebody else may try."""

    container_id = models.CharField(max_length=64, primary_key=True)
    app = models.ForeignKey("apps.App", on_delete=models.CASCADE, related_name="retirements")
    deadline = models.DateTimeField()

    def __str__(self) -> str:
        return self.container_id[:12]
