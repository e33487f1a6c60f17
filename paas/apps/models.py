"""App: the named unit that is deployed and owned."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from paas.core.models import BaseModel


class Role(models.IntegerChoices):
    """What somebody may do with an app; each role may do what the ones before it may."""

    VIEWER = 10  # sees everything but config values
    OPERATOR = 20  # config, ports, domains, scale, restarts, rollbacks, tags, maintenance
    DEVELOPER = 30  # pushes code, runs commands
    OWNER = 40  # people, transfer, destruction


# What an app is built on. "container": its images are pushed to the registry, or built from a Dockerfile.
STACKS = ("debian-13", "container")


class App(BaseModel):
    name = models.CharField(max_length=30, unique=True)
    # The name it was made with: the router, the engine and the logs go on knowing it by that. While the app exists,
    # nobody else gets that name, so that links and remotes of before never lead to a stranger's app.
    slug = models.CharField(max_length=30, unique=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="apps")
    deploy_branch = models.CharField(max_length=200, default="main")
    stack = models.CharField(max_length=40, default=STACKS[0])
    # As people gave them, in their order; [] = what app.json or the source says.
    buildpacks = models.JSONField(default=list)
    # The first build after it makes everything anew.
    cache_cleared_at = models.DateTimeField(null=True)
    maintenance = models.BooleanField(default=False)
    # Which of the small networks in PAAS_NETWORK_POOL is the app's.
    network_index = models.PositiveIntegerField(unique=True)
    # Wishes are counted; convergence writes down up to which one the engine has been brought.
    generation = models.PositiveIntegerField(default=0)
    observed_generation = models.PositiveIntegerField(default=0)
    restart_epoch = models.PositiveIntegerField(default=0)
    # Nothing of it runs from then on, whatever is deployed, until somebody starts it.
    stopped_at = models.DateTimeField(null=True)
    current_release = models.ForeignKey(
        "releases.Release", null=True, on_delete=models.SET_NULL, related_name="+", db_constraint=False
    )
    # Set when the owner has destroyed the app; the row goes when nothing of it runs any more.
    destroyed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def network(self) -> str:
        """With the id: another platform on this engine may have an app of this name, and the engine takes two networks of
        one name without a word."""
        return f"paas-{self.slug}-{self.id.hex[:8]}"

    @property
    def repository(self) -> str:
        """Where its images are in the registry. By id: a new app of the same name must not meet the old one's images."""
        return f"apps/{self.id.hex}"


class Restart(BaseModel):
    """Instances of this target that were started for an earlier epoch are replaced. For all of an app at once there is
    `App.restart_epoch`; both count on from the highest of the app."""

    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="restarts")
    target = models.CharField(max_length=60)  # a process type, `web`, or an instance, `web.1`
    epoch = models.PositiveIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["app", "target"], name="one_restart_per_target")]

    def __str__(self) -> str:
        return f"{self.target}: {self.epoch}"


class MaintenancePage(BaseModel):
    """What visitors see during maintenance instead of our page. Beside the app, which is read much more often."""

    app = models.OneToOneField(App, on_delete=models.CASCADE, related_name="maintenance_page")
    html = models.TextField()

    def __str__(self) -> str:
        return f"{len(self.html)} characters"


class Collaborator(BaseModel):
    """Somebody other than the owner who may do something with an app."""

    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="collaborators")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="collaborations")
    role = models.PositiveSmallIntegerField(choices=Role.choices, default=Role.VIEWER)

    class Meta:
        ordering = ["created_at"]
        constraints = [models.UniqueConstraint(fields=["app", "user"], name="one_role_per_person_and_app")]

    def __str__(self) -> str:
        return f"{self.user}: {Role(self.role).label}"


class TransferState(models.TextChoices):
    PENDING = "pending"
    ACCEPTED = "accepted"
    DECLINED = "declined"


class AppTransfer(BaseModel):
    """An owner's offer to hand an app over. Nothing changes before the recipient has accepted it."""

    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="transfers")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    recipient = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    state = models.CharField(max_length=10, choices=TransferState.choices, default=TransferState.PENDING)

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["app"], condition=models.Q(state="pending"), name="one_pending_transfer_per_app"
            )
        ]

    def __str__(self) -> str:
        return f"{self.app} to {self.recipient}: {self.state}"


class Invitation(BaseModel):
    """A link that makes somebody new a user, once. With an app, they become its collaborator as well.

    Of the secret in the link only the SHA-256 is kept.
    """

    email = models.EmailField()
    digest = models.CharField(max_length=64, unique=True)
    app = models.ForeignKey(App, null=True, on_delete=models.CASCADE, related_name="invitations")
    role = models.PositiveSmallIntegerField(choices=Role.choices, null=True)
    is_admin = models.BooleanField(default=False)
    invited_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.email} to {self.app or 'the platform'}"

    @property
    def is_expired(self) -> bool:
        return self.expires_at <= timezone.now()
