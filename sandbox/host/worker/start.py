"""The worker's entry point, run as a script: `start.py SOCKET_FD APP_DIR`.

The app's folder must be first on `sys.path` and the sandbox's folder must not be on it, so the worker's own modules
are imported first and their folder is then removed.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Import the worker, put the app's folder on the path, serve."""
    descriptor, app = int(sys.argv[1]), sys.argv[2]
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from sandbox.host.worker.process import serve

    sys.path[0] = app
    serve(descriptor)


if __name__ == "__main__":
    main()
