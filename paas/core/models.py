"""What every row has, and the record of who did what."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.db import models

if TYPE_CHECKING:
    _QuerySet = models.QuerySet["AuditEvent"]
    _Manager = models.Manager["AuditEvent"]
else:
    _QuerySet, _Manager = models.QuerySet, models.Manager  # not subscriptable at run time


class BaseModel(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True


class AuditQuerySet(_QuerySet):
    """What is written stays: nothing changes or removes single events."""

    def update(self, **_fields: Any) -> int:
        raise TypeError("The audit log is not changed.")

    def bulk_update(self, *_args: Any, **_kwargs: Any) -> int:
        raise TypeError("The audit log is not changed.")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise TypeError("The audit log is not shortened; see paas.core.audit.forget_before.")


class AuditEvent(models.Model):
    """Who did what to which app, from where, through which door. No part of it ever holds a secret.

    `before` and `after` have the same keys: those that moved. A secret's value is `audit.MASK` in both.
    """

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    # Nobody is ever deleted, only deactivated. The address is kept as it was then.
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    actor_email = models.CharField(max_length=254, blank=True)
    door = models.CharField(max_length=20)
    address = models.CharField(max_length=45, blank=True)
    action = models.CharField(max_length=60, db_index=True)
    app_id = models.UUIDField(null=True, db_index=True)
    app_name = models.CharField(max_length=60, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    detail = models.JSONField(default=dict)
    # All words of the event in lower case, for the search.
    text = models.TextField(blank=True)

    objects: ClassVar[_Manager] = _Manager.from_queryset(AuditQuerySet)()

    class Meta:
        ordering = ["-at", "-id"]

    def __str__(self) -> str:
        return f"{self.action} {self.app_name}".strip()

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("The audit log is not changed.")
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError("The audit log is not shortened; see paas.core.audit.forget_before.")


class Event(models.Model):
    """Something that happened to an app, until everybody who wants to hear of it has been told (paas.hooks), and for a
    while after. Written in the transaction in which it happens, so none is lost. No part of it ever holds a secret."""

    number = models.BigAutoField(primary_key=True)
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    at = models.DateTimeField(auto_now_add=True)
    include = models.CharField(max_length=40)  # "api:release"
    action = models.CharField(max_length=10)  # create, update, destroy
    # Not a foreign key: that an app is gone is told after it is.
    app_id = models.UUIDField()
    app_name = models.CharField(max_length=60)
    actor_id = models.UUIDField(null=True)
    actor_email = models.CharField(max_length=254, blank=True)
    data = models.JSONField()
    previous = models.JSONField(default=dict)
    is_taken = models.BooleanField(default=False)

    class Meta:
        ordering = ["number"]
        indexes = [
            models.Index(fields=["app_id", "number"], name="events_of_an_app"),
            models.Index(fields=["number"], condition=models.Q(is_taken=False), name="events_to_take"),
        ]

    def __str__(self) -> str:
        return f"{self.include} {self.action} {self.app_name}"
