"""`python -m basegate_cli`, or `basegate` once it is installed."""

from __future__ import annotations

import sys

from basegate_cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
