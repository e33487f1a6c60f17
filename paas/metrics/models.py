"""A small time series: samples in three resolutions, each kept for a bounded time. Times are numbers: rows stay small."""

from __future__ import annotations

from django.db import models


class Series(models.Model):
    """Whose samples they are: an instance of an app (`web.1`), or with no name the app's traffic as a whole."""

    app = models.ForeignKey("apps.App", on_delete=models.CASCADE, related_name="series")
    name = models.CharField(max_length=60, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["app", "name"], name="one_series_per_name")]

    def __str__(self) -> str:
        return self.name or "traffic"


class Point(models.Model):
    """`at` is the Unix time at which the `step` seconds that it is about begin."""

    step = models.PositiveSmallIntegerField()
    at = models.PositiveBigIntegerField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.at}/{self.step}"


class InstanceSample(Point):
    """What an instance used. Rates are averages over the step."""

    series = models.ForeignKey(Series, on_delete=models.CASCADE, db_index=False, related_name="samples")
    cpu_millicores = models.PositiveIntegerField()
    memory_bytes = models.PositiveBigIntegerField()
    memory_peak_bytes = models.PositiveBigIntegerField()
    received_rate = models.PositiveBigIntegerField()  # bytes a second
    sent_rate = models.PositiveBigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["series", "step", "at"], name="one_instance_sample")]
        indexes = [models.Index(fields=["step", "at"], name="instance_samples_by_age")]


class TrafficSample(Point):
    """What an app was asked during the step. Without a row, and with one of the machine: nothing."""

    series = models.ForeignKey(Series, on_delete=models.CASCADE, db_index=False, related_name="traffic")
    requests = models.JSONField()  # by class, 1xx to 5xx
    buckets = models.JSONField()  # by latency, as paas.metrics.latency.BOUNDS_MS
    sent_bytes = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["series", "step", "at"], name="one_traffic_sample")]
        indexes = [models.Index(fields=["step", "at"], name="traffic_samples_by_age")]


class MachineSample(Point):
    """The machine as a whole. There is one for every step in which we looked: without it, nobody knows."""

    cpu_millicores = models.PositiveIntegerField(null=True)
    cores = models.PositiveSmallIntegerField()
    load_hundredths = models.PositiveIntegerField()
    memory_used_bytes = models.PositiveBigIntegerField()
    memory_total_bytes = models.PositiveBigIntegerField()
    disk_used_bytes = models.PositiveBigIntegerField()
    disk_total_bytes = models.PositiveBigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["step", "at"], name="one_machine_sample")]
