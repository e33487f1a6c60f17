"""`python -m paas_client`."""

from __future__ import annotations

import sys

from paas_client.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
