"""An app's own host names. Its public ports are part of its releases: see `paas.releases`."""

from __future__ import annotations

from django.db import models

from paas.core.models import BaseModel


class DnsState(models.TextChoices):
    UNKNOWN = "unknown"
    HERE = "here"
    ELSEWHERE = "elsewhere"
    MISSING = "missing"


class Domain(BaseModel):
    """In normal form: lower case, punycode. `*.example.com` stands for every name below it that has none of its own."""

    app = models.ForeignKey("apps.App", on_delete=models.CASCADE, related_name="domains")
    name = models.CharField(max_length=253, unique=True)
    # What the domain name system said when it was asked last.
    dns_state = models.CharField(max_length=10, choices=DnsState.choices, default=DnsState.UNKNOWN)
    dns_addresses = models.JSONField(default=list)
    dns_checked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def shown_name(self) -> str:
        """As people write it: `bücher.example`."""
        try:
            return self.name.encode("ascii").decode("idna")
        except UnicodeError:
            return self.name
