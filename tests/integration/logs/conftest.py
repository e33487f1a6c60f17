from __future__ import annotations

from tests.integration.engine.conftest import docker_engine, programs

__all__ = ["docker_engine", "programs"]  # fixtures
