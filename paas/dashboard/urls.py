"""Pages of the dashboard: each module in `views/` brings its own."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from paas.dashboard import views

urlpatterns = [
    pattern
    for module in sorted(iter_modules(views.__path__), key=lambda module: module.name)
    for pattern in import_module(f"{views.__name__}.{module.name}").urlpatterns
]
