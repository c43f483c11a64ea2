"""Whose rights the processes have that need no root: function apps, registries, git and Azurite.

They run as the user behind `sudo`. What they write belongs to that user; everything else in the state folder stays
root's. Which parts of it they reach depends on two groups that have no members but these processes:

- `entry`: those that may enter the state folder at all. The user's other processes may not.
- `servers`: git, registries and Azurite. It is their first group: so a function app, although it is the same user's,
  cannot read their memory or environment (ptrace(2), "Ptrace access mode checking"), or enter their folders.

The groups are of a range that distributions assign to nobody.
Source: https://systemd.io/UIDS-GIDS/
"""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.programs import find_program

_UNUSED = range(60706, 61184)
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL")
_OWN_VARIABLES = ("HOME", "TMPDIR")
_LIMIT_BYTES = 1 << 20
_SECONDS = 10
_UNREACHED = 'for one; do test "${one%%:*}" "${one#*:}" || { printf %s "${one#*:}"; exit 1; }; done'
_KINDS = "Function apps, registries, git and Azurite run as"
_CONTAINERS = "Containers run as root: rootless podman gives them no address that this machine reaches."


class UserError(Exception):
    """The user that was asked for does not exist, or cannot read what the processes need."""


@dataclass(frozen=True, slots=True)
class User:
    """A user of this machine, and the groups of the processes that run as that user."""

    name: str
    uid: int
    gid: int
    home: str
    entry: int
    servers: int


@dataclass(frozen=True, slots=True)
class Rights:
    """The user of the processes, or None if they keep the rights of this process; `reason` is why they do."""

    user: User | None = None
    reason: str = "as whatever started it"

    @property
    def sentence(self) -> str:
        """Who runs what, for the person that started the sandbox."""
        who = f"{self.user.name} (uid {self.user.uid})" if self.user else f"root, {self.reason}"
        return f"{_KINDS} {who}. {_CONTAINERS}"

    @property
    def name(self) -> str:
        """The name of the user."""
        return self.user.name if self.user else pwd.getpwuid(os.geteuid()).pw_name

    def app(self) -> dict[str, Any]:
        """The options of `Popen` for a function app. The user's other groups (docker, sudo) are left out."""
        user = self.user
        return {"user": user.uid, "group": user.gid, "extra_groups": [user.entry]} if user else {}

    def server(self) -> dict[str, Any]:
        """The options of `Popen` for git, a registry or Azurite."""
        user = self.user
        return {"user": user.uid, "group": user.servers, "extra_groups": [user.entry, user.gid]} if user else {}

    def command(self, *command: str) -> tuple[str, ...]:
        """The command, which cannot get other rights by a set-user-ID program such as sudo."""
        setpriv = find_program("setpriv")
        return (setpriv, "--no-new-privs", "--", *command) if setpriv and self.user else command

    def environment(self) -> dict[str, str]:
        """The variables of this process that others need; what else is in its environment may be secret."""
        names = _KEPT_VARIABLES if self.user else (*_KEPT_VARIABLES, *_OWN_VARIABLES)
        kept = {name: os.environ[name] for name in names if name in os.environ}
        user = self.user
        return kept | ({"HOME": user.home, "USER": user.name, "LOGNAME": user.name} if user else {})

    def open_to_all(self, folder: Path) -> None:
        """Let all these processes enter the state folder, which nobody else enters, but not list it."""
        if self.user:
            os.chown(folder, os.geteuid(), self.user.entry)
            folder.chmod(0o710)

    def open_to_servers(self, folder: Path, *, writing: bool = False) -> None:
        """Let servers enter a folder of this process, and create files in it if `writing`."""
        if self.user:
            os.chown(folder, os.geteuid(), self.user.servers)
            folder.chmod(0o730 if writing else 0o710)

    def show_servers(self, file: Path) -> None:
        """Let servers read a file of this process."""
        if self.user:
            os.chown(file, os.geteuid(), self.user.servers)
            file.chmod(0o640)

    def open(self, folder: Path) -> None:
        """Let whoever reaches a folder enter it; only what is admitted to the state folder does."""
        if self.user:
            folder.chmod(0o711)

    def give(self, folder: Path) -> None:
        """Make a folder, with what is in it, the one of these processes; it is created if missing."""
        folder.mkdir(parents=True, exist_ok=True)
        _change_owner(folder, self.user.uid if self.user else os.geteuid(), -1)

    def take(self, folder: Path) -> None:
        """Make a folder, with what is in it, the one of this process."""
        _change_owner(folder, os.geteuid(), os.getegid())


def choose_rights(asked: str | None, key: str, needed: Sequence[tuple[str, Path]]) -> Rights:
    """The rights of an instance's processes.

    Args:
        asked: the name of a user; None is the one behind `sudo`, or root if there is none, or one that cannot reach
            what is needed.
        key: the instance's, which decides its groups.
        needed: what the user must reach, each with an operator of test(1).

    Raises:
        UserError: the user that was asked for does not exist, or cannot reach what is needed.
    """
    if os.geteuid() != 0:
        return Rights()
    if asked is not None:
        return _asked(asked, key, needed)
    behind = os.environ.get("SUDO_UID", "0")
    found = _user(int(behind), key) if behind.isdigit() and int(behind) else None
    if found is None:
        return Rights(None, "because no user is behind it: `up --user NAME` names one")
    if unreached := _unreached(found, needed):
        return Rights(None, f"because {found.name}, who is behind it, cannot reach {unreached}")
    return Rights(found)


def _asked(name: str, key: str, needed: Sequence[tuple[str, Path]]) -> Rights:
    try:
        uid = pwd.getpwnam(name).pw_uid
    except KeyError:
        raise UserError(f"There is no user '{name}' on this machine: name another one with --user.") from None
    if uid == 0:
        return Rights(None, "as --user says")
    user = _user(uid, key)
    assert user
    if unreached := _unreached(user, needed):
        raise UserError(f"The user {name} cannot reach {unreached}: change its mode, or name another with --user.")
    return Rights(user)


def _user(uid: int, key: str) -> User | None:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return None
    group = _UNUSED[2 * (int(key, 16) % (len(_UNUSED) // 2))]
    return User(entry.pw_name, uid, entry.pw_gid, entry.pw_dir, group, group + 1)


def _unreached(user: User, needed: Sequence[tuple[str, Path]]) -> str:
    """The first path that the user cannot reach; "" if there is none. The kernel is asked: modes are not all."""
    command = ["/bin/sh", "-c", _UNREACHED, "sh", *(f"{operator}:{path}" for operator, path in needed)]
    options = Rights(user).app()
    unreached: str = subprocess.run(
        command, **options, env={}, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        check=False, timeout=_SECONDS,
    ).stdout  # fmt: skip
    return unreached


def read_foreign(file: Path) -> bytes:
    """The content of a file that a process with fewer rights wrote: no link is followed, and no pipe is waited for.

    Raises:
        OSError: there is none, or it is something else, or larger than a MiB.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LIMIT_BYTES:
            raise OSError(f"{file} is no file, or a large one")
        return opened.read(_LIMIT_BYTES)


def _change_owner(folder: Path, uid: int, gid: int) -> None:
    """Change the owner of a tree, if it is another's. Of what is in it, only what that one owns; no link is followed.

    A file with several names is left as it is: one of them may be outside. The folder itself is the last one: what is
    interrupted is done again.
    """
    before = folder.stat().st_uid
    if before == uid:
        return
    for _, folders, files, descriptor in os.fwalk(folder):
        for name in (*folders, *files):
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if found.st_uid == before and (stat.S_ISDIR(found.st_mode) or found.st_nlink == 1):
                os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
    os.chown(folder, uid, gid)
