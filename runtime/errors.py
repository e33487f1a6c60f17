"""The root of every exception we raise. The class answers the first question: whose problem is it?"""

from __future__ import annotations


class Failure(Exception):
    """Something a person should read: what happened, what we saw, what to do next.

    `id` is stable, documented in docs/reference/errors.md and stored on the failed build or release.
    `message` says what happened and what we saw; `hint` says what to do next.
    """

    id = "failure"

    def __init__(self, message: str, *, hint: str = "", id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if id is not None:
            self.id = id

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class Retryable(Exception):
    """Mixed into failures that may pass by themselves: trying again is right."""


class Abandoned(Exception):
    """Whoever worked lost the right to: somebody else may be at it by now, so nothing is to be undone either."""


class UserError(Failure):
    """Theirs: shown word for word, logged at info."""

    id = "user_error"


class InvalidInput(UserError):
    id = "invalid_input"


class NotFound(UserError):
    id = "not_found"


class Forbidden(UserError):
    id = "forbidden"


class Conflict(UserError):
    id = "conflict"


class BuildFailed(UserError):
    """No buildpack matched, a step exited non-zero, a bad Procfile, a limit reached."""

    id = "build_failed"


class BuildCancelled(BuildFailed):
    id = "build_cancelled"


class BootFailed(UserError):
    """The release command failed, an instance crashed, nothing bound to $PORT."""

    id = "boot_failed"


class PlatformError(Failure):
    """Ours: the traceback is logged, the person sees the request id."""

    id = "platform_error"


class EngineError(PlatformError):
    id = "engine_error"


class EngineUnavailable(EngineError, Retryable):
    id = "engine_unavailable"


class ImageMissing(EngineError):
    id = "image_missing"


class ContainerMissing(EngineError):
    id = "container_missing"


class RegistryError(PlatformError):
    id = "registry_error"


class RegistryUnavailable(RegistryError, Retryable):
    id = "registry_unavailable"


class ManifestUnknown(RegistryError):
    id = "manifest_unknown"


class DigestMismatch(RegistryError):
    id = "digest_mismatch"


class RouterError(PlatformError):
    id = "router_error"


class RouterUnavailable(RouterError, Retryable):
    id = "router_unavailable"
