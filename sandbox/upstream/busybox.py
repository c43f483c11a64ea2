"""The base of every stand-in image: a shell, the usual programs, a few files of /etc."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from sandbox.programs import find_program
from sandbox.upstream.fetch import MissingPart
from sandbox.upstream.tree import Entry, File, Folder, Link, Tree

_LIBRARY = re.compile(r"(/\S+) \(0x")
_SECONDS = 20

_PASSWD = (
    b"root:x:0:0:root:/root:/bin/sh\n"
    b"node:x:1000:1000:node:/home/node:/bin/sh\n"
    b"nobody:x:65534:65534:nobody:/:/bin/false\n"
)
_GROUP = b"root:x:0:\nnode:x:1000:\nnobody:x:65534:\n"
_OS_RELEASE = b'NAME="Basegate sandbox stand-in"\nID=basegate-stand-in\nPRETTY_NAME="Stand-in for Alpine Linux"\n'

_PAGE = b"""#!/bin/sh
printf 'Content-Type: text/html; charset=utf-8\\r\\n\\r\\n'
printf '<!doctype html><title>Hello World</title><body style="background:%s"><h1>Hello World</h1><p>%s</p>' \\
  "$BACKGROUND_COLOR" "This image has no Node: a shell script responds instead of server.js."
"""
_NODE = b"""#!/bin/sh
# This image has no Node. A page in BACKGROUND_COLOR replaces the response of server.js.
case "$1" in
  -v|--version) echo v0.0.0-stand-in ;;
  *.js) exec httpd -f -p 80 -h /usr/share/stand-in ;;
  *) echo "node: this image has no Node" >&2; exit 127 ;;
esac
"""


def busybox_tree() -> Tree:
    """BusyBox with all its applets; static, or with the libraries that it is linked with.

    Raises:
        MissingPart: if this machine has no BusyBox.
    """
    program = find_program("busybox")
    if not program:
        raise MissingPart("busybox is missing; install the package busybox-static.")
    listing = subprocess.run([program, "--list"], capture_output=True, text=True, check=True, timeout=_SECONDS).stdout
    tree: dict[str, Entry] = {f"bin/{name}": Link("/bin/busybox") for name in listing.split()}
    return tree | {
        **libraries(Path(program)),
        "bin/busybox": File(Path(program).resolve().read_bytes(), 0o755),
        "usr/bin/env": Link("/bin/busybox"),
        "etc/passwd": File(_PASSWD),
        "etc/group": File(_GROUP),
        "etc/os-release": File(_OS_RELEASE),
        "tmp": Folder(0o1777),
        "var/tmp": Folder(0o1777),
        "root": Folder(0o700),
        "home/node": Folder(),
        **{name: Folder() for name in ("dev", "proc", "run", "sys")},
    }


def without_node() -> Tree:
    """The replacement for Node if it is unavailable: `node server.js` serves a page of its own."""
    return {
        "usr/local/bin/node": File(_NODE, 0o755),
        "usr/share/stand-in/cgi-bin/index.cgi": File(_PAGE, 0o755),
        "usr/share/stand-in/healthz": File(b"ok\n"),
    }


def libraries(*programs: Path) -> Tree:
    """The shared libraries and the loader of programs, at the paths where they expect them; none of a static one."""
    command = ["ldd", *map(str, programs)]
    output = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS).stdout
    found = (match[1] for match in map(_LIBRARY.search, output.splitlines()) if match)
    return {name.lstrip("/"): File(Path(name).resolve().read_bytes(), 0o755) for name in found}
