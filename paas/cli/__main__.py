"""`paas`, for root on the machine: a thin client of the services."""

from __future__ import annotations

import os
import sys


def run() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "paas.settings")
    import django
    from django.core.exceptions import ImproperlyConfigured

    try:
        django.setup()
    except ImproperlyConfigured as exc:
        sys.stderr.write(f" !     {exc}\n")
        return 1
    from paas.cli.main import main

    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(run())
