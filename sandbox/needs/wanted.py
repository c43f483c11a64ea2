"""The needs: which programs, why, and the Debian packages that bring them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sandbox.needs.machine import Machine

_NETAVARK = (Path("/usr/lib/podman/netavark"), Path("/usr/libexec/podman/netavark"))
_GIT_BACKENDS = (Path("/usr/lib/git-core/git-http-backend"), Path("/usr/libexec/git-core/git-http-backend"))


@dataclass(frozen=True, slots=True)
class Need:
    """Something that must be on the machine: any of `programs` or `files`.

    `packages` are Debian's and Ubuntu's names; `static` asks for a program that needs no loader.
    """

    name: str
    why: str
    packages: tuple[str, ...]
    programs: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    static: bool = False

    def is_met(self, machine: Machine) -> bool:
        """Whether the machine has it."""
        if any(machine.exists(file) for file in self.files):
            return True
        found = [place for program in self.programs if (place := machine.which(program))]
        return bool(found) and (not self.static or machine.is_static(found[0]))


NEEDS = (
    Need("podman", "builds images and runs containers", ("podman",), ("podman",)),
    Need("an OCI runtime", "starts podman's containers", ("crun", "runc"), ("runc", "crun")),
    Need("netavark", "gives containers their network", ("netavark",), ("netavark",), _NETAVARK),
    Need("iptables", "netavark's rules", ("iptables",), ("iptables",)),
    Need("docker-registry", "holds the images of every registry", ("docker-registry",), ("docker-registry",)),
    Need("a static busybox", "is the shell of the upstream image", ("busybox-static",), ("busybox",), static=True),
    Need("git with http-backend", "serves the source repositories", ("git",), ("git-http-backend",), _GIT_BACKENDS),
    Need("setpriv", "ends child processes with the sandbox", ("util-linux",), ("setpriv",)),
    Need("node", "runs Azurite, the storage emulator", ("nodejs",), ("node",)),
    Need("npm", "fetches Azurite and the upstream image's Node 15", ("npm",), ("npm",)),
)
"""Everything but Azurite itself, which comes from npm. Debian's runc takes hosts that its crun refuses: both."""


def missing(machine: Machine) -> list[Need]:
    """The needs that are not met."""
    return [need for need in NEEDS if not need.is_met(machine)]
