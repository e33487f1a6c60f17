"""`bin/paas`: the commands of `paas`, and those that only root on the machine can give.

What talks to the API loads neither Django nor our code: it takes a fraction of the time.
"""

from __future__ import annotations

import sys

# httpx loads what development tools brought; see paas.logging.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
sys.modules.setdefault("pygments", None)  # type: ignore[arg-type]

from paas.cli.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
