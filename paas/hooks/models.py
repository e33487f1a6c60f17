"""Who wants to hear of an app, what they are to be told, and what became of telling them."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone

from paas.core.crypto import EncryptedJSONField
from paas.core.models import BaseModel


class Level(models.TextChoices):
    NOTIFY = "notify", "One try"
    SYNC = "sync", "Until it arrives"


class Webhook(BaseModel):
    """A URL that is told what happens to an app."""

    # Empty when the app is gone: that is told as well, then the row goes.
    app = models.ForeignKey("apps.App", null=True, on_delete=models.SET_NULL, related_name="webhooks")
    told_of = models.UUIDField(db_index=True)  # the app's id, for as long as the row lives
    url = EncryptedJSONField()  # it may hold a password
    include = models.JSONField(default=list)
    level = models.CharField(max_length=10, choices=Level.choices, default=Level.NOTIFY)
    secret = EncryptedJSONField()
    authorization = EncryptedJSONField(null=True)  # sent as it is, in the header of that name
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    # Deliveries given up in a row. After many it is switched off, until somebody switches it on again.
    failures = models.PositiveIntegerField(default=0)
    switched_off_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["created_at"]

    def __str__(self) -> str:
        return f"webhook {self.pk}"


class DeliveryStatus(models.TextChoices):
    PENDING = "pending"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


OPEN = (DeliveryStatus.PENDING, DeliveryStatus.RETRYING)


class Delivery(models.Model):
    """One event for one webhook. Their order is that of their numbers."""

    number = models.BigAutoField(primary_key=True)
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    event = models.ForeignKey("core.Event", on_delete=models.CASCADE, related_name="deliveries")
    status = models.CharField(max_length=10, choices=DeliveryStatus.choices, default=DeliveryStatus.PENDING)
    tries = models.PositiveIntegerField(default=0)  # those that count for the pause before the next
    next_attempt_at = models.DateTimeField(null=True, default=timezone.now)
    # The receiver is there and does not want it: what comes after is not held up any longer.
    is_aside = models.BooleanField(default=False)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["webhook", "event"], name="one_delivery_per_event")]
        indexes = [
            models.Index(
                fields=["webhook", "number"],
                condition=models.Q(status__in=["pending", "retrying"]),
                name="deliveries_to_make",
            )
        ]

    def __str__(self) -> str:
        return f"delivery {self.uuid}"

    @property
    def is_finished(self) -> bool:
        return self.status not in OPEN


class Attempt(BaseModel):
    """One request of a delivery. `status` 0 and no error: it is under way, or whoever made it died."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempts")
    status = models.PositiveIntegerField(default=0)  # of the answer
    error_id = models.CharField(max_length=40, blank=True)
    error = models.CharField(max_length=300, blank=True)
    milliseconds = models.PositiveIntegerField(default=0)
    excerpt = models.TextField(blank=True)

    class Meta:
        ordering = ["created_at"]

    def __str__(self) -> str:
        return f"{self.status or self.error_id or 'under way'}"

    @property
    def has_ended(self) -> bool:
        return bool(self.status or self.error_id)

    @property
    def has_succeeded(self) -> bool:
        return 200 <= self.status < 300


class Topic(models.TextChoices):
    """What one can be notified of."""

    DEPLOY_FAILED = "deploy_failed", "A deploy failed"
    CRASH_LOOP = "crash_loop", "An instance keeps crashing"
    RECOVERED = "recovered", "It is well again"
    DEPLOYED = "deployed", "A deploy succeeded"
    DISK = "disk", "The machine's disk is nearly full"


APP_TOPICS = (Topic.DEPLOY_FAILED, Topic.CRASH_LOOP, Topic.RECOVERED, Topic.DEPLOYED)
DEFAULT_TOPICS = (Topic.DEPLOY_FAILED, Topic.CRASH_LOOP, Topic.RECOVERED)
HOST_TOPICS = (Topic.DISK,)


class ChannelKind(models.TextChoices):
    EMAIL = "email", "E-mail"
    CHAT = "chat", "Slack, Mattermost, Discord"
    TEAMS = "teams", "Microsoft Teams"


class Channel(BaseModel):
    """Where notifications go: a person's mailbox, or a room of a chat."""

    # Empty: of the machine itself, for admins.
    app = models.ForeignKey("apps.App", null=True, on_delete=models.CASCADE, related_name="channels")
    kind = models.CharField(max_length=10, choices=ChannelKind.choices)
    name = models.CharField(max_length=100, blank=True)
    # One of these two.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="channels")
    url = EncryptedJSONField(null=True)  # whoever knows it can write to the room
    topics = models.JSONField(default=list)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["app", "user"], condition=models.Q(user__isnull=False), name="one_mailbox_per_person_and_app"
            )
        ]

    def __str__(self) -> str:
        return self.name or (self.user.email if self.user else self.kind)


class MessageStatus(models.TextChoices):
    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


class Message(BaseModel):
    """Something to be told, once for each `key`."""

    # Without a channel it is a mail to one address: an invitation, a new password.
    channel = models.ForeignKey(Channel, null=True, on_delete=models.CASCADE, related_name="messages")
    address = models.CharField(max_length=254, blank=True)
    topic = models.CharField(max_length=20, blank=True)
    key = models.CharField(max_length=120)
    subject = models.CharField(max_length=200)
    text = EncryptedJSONField()  # that of an invitation has a secret in it
    link = models.CharField(max_length=500, blank=True)
    status = models.CharField(max_length=10, choices=MessageStatus.choices, default=MessageStatus.PENDING)
    tries = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True, default=timezone.now)
    error = models.CharField(max_length=300, blank=True)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["channel", "key"], condition=models.Q(channel__isnull=False), name="one_message_per_key"
            )
        ]
        indexes = [
            models.Index(fields=["next_try_at"], condition=models.Q(status="pending"), name="messages_to_send"),
        ]

    def __str__(self) -> str:
        return self.subject


class Trouble(BaseModel):
    """Something that goes on being wrong: told when it begins and when it is over, not in between."""

    app = models.ForeignKey("apps.App", null=True, on_delete=models.CASCADE, related_name="troubles")
    topic = models.CharField(max_length=20, choices=Topic.choices)
    about = models.CharField(max_length=200)
    over_at = models.DateTimeField(null=True)
    was_told = models.BooleanField(default=False)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["app", "topic"], condition=models.Q(over_at__isnull=True), name="one_trouble_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.topic}: {self.about}"


class Drain(BaseModel):
    """Where the log of an app goes as well; that of all apps when it has none."""

    app = models.ForeignKey("apps.App", null=True, on_delete=models.CASCADE, related_name="drains")
    url = EncryptedJSONField()
    digest = models.CharField(max_length=64)  # of the URL, to find it by
    token = models.CharField(max_length=40, unique=True)  # "d." and a UUID; in every line that is sent
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["created_at"]
        constraints = [models.UniqueConstraint(fields=["app", "digest"], name="one_drain_per_url")]

    def __str__(self) -> str:
        return self.token
