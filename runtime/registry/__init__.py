"""A client of the OCI distribution protocol: blobs, manifests and tags of any registry, with typed errors."""

from runtime.registry.auth import Credentials, Scope
from runtime.registry.client import Registry

__all__ = ["Credentials", "Registry", "Scope"]
