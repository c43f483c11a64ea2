"""The worker's first lines, run as a script: `start.py SOCKET_FD APP_DIR`.

The app must find itself first on `sys.path` and nothing of the sandbox's folder, so the worker's own modules are
imported first and their folder is taken off again.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Import the worker, hand the path over to the app, serve."""
    descriptor, app = int(sys.argv[1]), sys.argv[2]
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from sandbox.host.worker.process import serve

    sys.path[0] = app
    serve(descriptor)


if __name__ == "__main__":
    main()
