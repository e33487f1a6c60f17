"""People, and what they identify themselves with: sessions, tokens, SSH keys, one-time codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.utils import timezone

from paas.core.crypto import EncryptedJSONField
from paas.core.models import BaseModel

if TYPE_CHECKING:
    _Manager = BaseUserManager["User"]
else:
    _Manager = BaseUserManager  # not subscriptable at run time


class UserManager(_Manager):
    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email__iexact=username)


class User(AbstractBaseUser, BaseModel):
    """An admin sees and does everything; others see what they own or share. Nobody is deleted, only deactivated."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=100, blank=True)
    is_admin = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    can_create_apps = models.BooleanField(default=True)

    USERNAME_FIELD = "email"
    objects: ClassVar[UserManager] = UserManager()

    def __str__(self) -> str:
        return self.email

    @property
    def may_create_apps(self) -> bool:
        return self.is_admin or self.can_create_apps


class Session(BaseModel):
    """A browser that is signed in, or about to be. Of its cookie only the SHA-256 is kept."""

    digest = models.CharField(max_length=64, unique=True)
    session_data = models.TextField()
    expires_at = models.DateTimeField(db_index=True)
    user = models.ForeignKey(User, null=True, on_delete=models.CASCADE, related_name="sessions")
    seen_at = models.DateTimeField(default=timezone.now)
    address = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-seen_at"]

    def __str__(self) -> str:
        return f"{self.user}, {self.address}"


class Scope(models.TextChoices):
    """What a token is good for."""

    GLOBAL = "global", "Everything you may do, the account included"
    WRITE = "write", "Change apps, and push code"
    READ = "read", "Look at apps"
    GIT = "git", "Push and fetch code, nothing else"


# What else a scope covers.
COVERS = {
    Scope.GLOBAL: frozenset(Scope),
    Scope.WRITE: frozenset({Scope.WRITE, Scope.READ, Scope.GIT}),
    Scope.READ: frozenset({Scope.READ}),
    Scope.GIT: frozenset({Scope.GIT}),
}


def global_scope() -> list[str]:
    return [Scope.GLOBAL]


class ApiToken(BaseModel):
    """Only the SHA-256 of the secret is kept; a token has enough entropy for that. `prefix` tells two of them apart."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    prefix = models.CharField(max_length=12, blank=True)
    scopes = models.JSONField(default=global_scope)
    # Good for this app alone; for all of the user's when empty.
    app = models.ForeignKey("apps.App", null=True, on_delete=models.CASCADE, related_name="tokens")
    expires_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    last_used_from = models.CharField(max_length=45, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    def allows(self, scope: Scope) -> bool:
        return any(scope in COVERS[Scope(own)] for own in self.scopes)


class LoginRequest(BaseModel):
    """A program on somebody's machine waits until a person confirms in the browser that it is theirs. Of the secret that
    it asks with only the SHA-256 is kept; its token is made when it comes to fetch it."""

    class State(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        DENIED = "denied"
        COLLECTED = "collected"

    code = models.CharField(max_length=9, unique=True)  # what people compare: BCDF-GHJK
    digest = models.CharField(max_length=64)
    description = models.CharField(max_length=100)
    address = models.CharField(max_length=45, blank=True)
    state = models.CharField(max_length=9, choices=State.choices, default=State.PENDING)
    user = models.ForeignKey(User, null=True, on_delete=models.CASCADE, related_name="+")
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.code}: {self.state}"


class SSHKey(BaseModel):
    """A public key. A key belongs to one person, as it says who is pushing."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="ssh_keys")
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=40)
    bits = models.PositiveIntegerField()
    # As in authorized_keys, without the comment: "ssh-ed25519 AAAA…".
    public_key = models.TextField()
    fingerprint = models.CharField(max_length=60, unique=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["created_at"]

    def __str__(self) -> str:
        return f"{self.name} {self.fingerprint}"


class TwoFactor(BaseModel):
    """The secret that makes one-time codes (RFC 6238). It counts once the user has shown a code of it."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="two_factor")
    secret = EncryptedJSONField()
    confirmed_at = models.DateTimeField(null=True)
    # The time step of the last code taken: none is taken twice.
    last_step = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.user}, {'on' if self.confirmed_at else 'not confirmed'}"


class RecoveryCode(BaseModel):
    """For when the phone is lost. Only the SHA-256 is kept (80 random bits); a used one is gone."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="recovery_codes")
    digest = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "digest"], name="one_recovery_code_once")]

    def __str__(self) -> str:
        return f"{self.user}: {self.digest[:6]}"
