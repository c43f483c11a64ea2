"""The needs: which programs, why, and the packages that bring them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sandbox.needs.machine import Machine

_NETAVARK = (Path("/usr/lib/podman/netavark"), Path("/usr/libexec/podman/netavark"))
_GIT_BACKENDS = (Path("/usr/lib/git-core/git-http-backend"), Path("/usr/libexec/git-core/git-http-backend"))


@dataclass(frozen=True, slots=True)
class Need:
    """Something that must be on the machine: any of `programs` or `files`.

    `packages` are Debian's and Ubuntu's names, `fedora` and `arch` those of these two, empty where they have none.
    `static` asks for a program that needs no loader, `oldest` for a version: the first two numbers of it.
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
        """Whether the machine has it, of whatever version."""
        if any(machine.exists(file) for file in self.files):
            return True
        found = self.place(machine)
        return found is not None and (not self.static or machine.is_static(found))

    def place(self, machine: Machine) -> Path | None:
        """The program that is used: the first of `programs` that is there."""
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
        "netavark", "gives containers their network", ("netavark",), ("netavark",), _NETAVARK,
        fedora="netavark", arch="netavark",
    ),
    Need("iptables", "netavark's rules", ("iptables",), ("iptables",), fedora="iptables-nft", arch="iptables-nft"),
    Need("docker-registry", "holds the images of every registry", ("docker-registry",), ("docker-registry",)),
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
        "npm", "fetches Azurite and the upstream image's Node 15", ("npm",), ("npm",),
        fedora="nodejs-npm", arch="npm",
    ),
)  # fmt: skip
"""Everything but Azurite itself, which comes from npm.

One runtime is enough. Where there is none, both are installed: Debian's runc takes hosts that its crun refuses.
podman 4.3 and Node 18 are the oldest that were tried, and what Debian 12 has. Azurite asks for Node 22 and runs on 18.
"""


def missing(machine: Machine) -> list[Need]:
    """The needs that are not met."""
    return [need for need in NEEDS if not need.is_met(machine)]
