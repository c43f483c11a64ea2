"""The names of environment variables that a client of the sandbox may set for one of its processes."""

from __future__ import annotations

import re

_READ_BY_EVERY_PROGRAM = (
    r"(?:LD|GLIBC|MALLOC|GCONV|OPENSSL|BASH|GIT)_.*"
    r"|PATH|HOME|SHELL|LOCPATH|NLSPATH|HOSTALIASES|TMPDIR|SSLKEYLOGFILE"
)
"""What the loader, the C library, OpenSSL, bash or git read: it would change how the process starts, or have it write
files. Sources: ld.so(8), environ(7), mallopt(3), bash(1), git(1), openssl-env(7)."""

READ_BY_SHELLS_AND_INTERPRETERS = r"ENV|IFS|TEMP|TMP|PYTHON(?!_).*|NODE_.*|PERL5OPT"
"""What other shells, Python, Node and Perl read, and so an app and what it starts. `PYTHON_…` is the Functions worker's
own. Sources: sh(1), Python's `tempfile` and "Command line and environment"."""


def settable_names(read: str, shape: str) -> re.Pattern[str]:
    """The names that a client may set for a program.

    Args:
        read: a regular expression of the names that this program reads, besides those that every program does.
        shape: a regular expression of all names that a variable can have there.
    """
    return re.compile(f"(?!(?:{_READ_BY_EVERY_PROGRAM}|{read})$){shape}")
