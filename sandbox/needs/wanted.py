"""The dependencies: which programs, why, and the packages that contain them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sandbox.needs.machine import Machine

_NETAVARK = (Path("/usr/lib/podman/netavark"), Path("/usr/libexec/podman/netavark"))
_GIT_BACKENDS = (Path("/usr/lib/git-core/git-http-backend"), Path("/usr/libexec/git-core/git-http-backend"))


@dataclass(frozen=True, slots=True)
class Need:
    """A dependency that must be on the machine: any of `programs` or `files`.

    `packages` are the names in Debian and Ubuntu, `fedora` and `arch` those in these two, empty if they have none.
    `static` requires a program that needs no loader, `oldest` a version: its first two numbers.
    """

    name: str
    why: str
    packages: tuple[str, ...]
    programs: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    static: bool = False
    oldest: tuple[int, int] | None = None
    fedora: str = ""
    arch: str = ""

    def is_met(self, machine: Machine) -> bool:
        """Whether the machine has it, in any version."""
        if any(machine.exists(file) for file in self.files):
            return True
        found = self.place(machine)
        return found is not None and (not self.static or machine.is_static(found))

    def place(self, machine: Machine) -> Path | None:
        """The path of the program that is used: the first existing one of `programs`."""
        return next((place for program in self.programs if (place := machine.which(program))), None)


NEEDS = (
    Need(
        "podman", "builds images and runs containers", ("podman",), ("podman",),
        oldest=(4, 3), fedora="podman", arch="podman",
    ),
    Need(
        "an OCI runtime", "starts podman's containers", ("crun", "runc"), ("runc", "crun"),
        fedora="crun", arch="crun",
    ),
    Need(
        "netavark", "provides the containers' network", ("netavark",), ("netavark",), _NETAVARK,
        fedora="netavark", arch="netavark",
    ),
    Need("iptables", "netavark's rules", ("iptables",), ("iptables",), fedora="iptables-nft", arch="iptables-nft"),
    Need("docker-registry", "stores the images of every registry", ("docker-registry",), ("docker-registry",)),
    Need(
        "a static busybox", "is the shell of the upstream image", ("busybox-static",), ("busybox",), static=True,
        fedora="busybox", arch="busybox",
    ),
    Need(
        "git with http-backend", "serves the source repositories", ("git",), ("git-http-backend",), _GIT_BACKENDS,
        fedora="git", arch="git",
    ),
    Need(
        "setpriv", "ends child processes with the sandbox", ("util-linux",), ("setpriv",),
        fedora="util-linux", arch="util-linux",
    ),
    Need(
        "node", "runs Azurite, the storage emulator", ("nodejs",), ("node",),
        oldest=(18, 0), fedora="nodejs", arch="nodejs",
    ),
    Need(
        "npm", "installs Azurite and the upstream image's Node 15", ("npm",), ("npm",),
        fedora="nodejs-npm", arch="npm",
    ),
)  # fmt: skip
"""Everything but Azurite itself, which npm installs.

One runtime is enough. If there is none, both are installed: Debian's runc runs on hosts on which its crun does not.
podman 4.3 and Node 18 are the oldest tested versions, and those of Debian 12. Azurite requires Node 22; it runs on 18.
"""


def missing(machine: Machine) -> list[Need]:
    """The missing dependencies."""
    return [need for need in NEEDS if not need.is_met(machine)]
