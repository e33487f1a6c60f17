"""`python -m paas.terminals`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "paas.settings")
django.setup()

from django.conf import settings  # noqa: E402

from paas.env import Env  # noqa: E402
from paas.terminals.serve import serve  # noqa: E402


async def main(env: Env) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(env, stop)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(settings.ENV))
    os._exit(0)  # threads that still end a command or relay a build would hold us up; both go on without us
