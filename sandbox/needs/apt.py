"""Installs packages on Debian and Ubuntu without starting the services that they contain."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sandbox.needs.logged import Installer
from sandbox.needs.machine import Machine

POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# Written by the Basegate sandbox while it installs packages.\nexit 101\n"

_LISTENER = "docker-registry"
# Debian's needrestart would otherwise restart the user's services after the installation.
_ENVIRONMENT = ("env", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l")
# A freshly started Ubuntu installs updates automatically, and holds the lock meanwhile.
_INSTALL = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")
_HINT = "Debian 12, Ubuntu 24.04 (with `universe`) and newer have all of these packages."


class Apt:
    """Installs packages as root, or through sudo."""

    def __init__(self, machine: Machine, log: Path) -> None:
        self._machine = machine
        self._installer = Installer(machine, log)
        self._prefix = () if machine.is_root else ("sudo",)

    def must_ask(self) -> bool:
        """Whether sudo will ask for a password."""
        return bool(self._prefix) and not self._installer.attempt("sudo", "-n", "true")

    def sign_in(self) -> None:
        """Let sudo ask for the password now; sudo caches it for the commands that follow. Raises `NeedError`."""
        self._installer.run("sudo", "-v")

    def install(self, packages: Sequence[str]) -> None:
        """Install packages.

        Raises:
            NeedError: apt fails; includes the end of its log.
        """
        with self._no_services():
            # One broken source of the user's makes this fail, although all others were read.
            self._installer.attempt(*self._prefix, "apt-get", "update", "-qq")
            self._installer.run(*self._prefix, *_ENVIRONMENT, *_INSTALL, *packages, hint=_HINT)
        if _LISTENER in packages and self._machine.which("systemctl"):
            # It would start at boot, and listen on port 5000 of every interface.
            self._installer.attempt(*self._prefix, "systemctl", "disable", f"{_LISTENER}.service")

    @contextmanager
    def _no_services(self) -> Iterator[None]:
        """Keep packages from starting services while they are installed. An existing policy is not changed.

        Source: https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
        """
        if self._machine.read(POLICY) not in {None, POLICY_TEXT}:  # ours was left by a killed installation
            yield
            return
        with tempfile.NamedTemporaryFile("w", prefix="policy-rc.d-") as policy:
            policy.write(POLICY_TEXT)
            policy.flush()
            try:
                self._installer.run(*self._prefix, "install", "-m", "755", policy.name, str(POLICY))
                yield
            finally:
                self._installer.run(
                    *self._prefix, "rm", "-f", str(POLICY), hint="Remove it: it keeps services from starting."
                )
