"""What to do where nothing can be installed: everything that is missing, and a command for the usual systems."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sandbox.needs.wanted import Need

AZURITE = "Azurite: is the storage emulator (npm fetches it on the next run)"

_REGISTRY = (
    "elsewhere docker-registry is the program `registry` of https://github.com/distribution/distribution/releases "
    "(2.8), put on the PATH as docker-registry"
)


def package_names(wanted: Sequence[Need]) -> list[str]:
    """The Debian packages of these needs."""
    return sorted({package for need in wanted for package in need.packages})


def reasons(wanted: Sequence[Need], *, azurite: bool) -> str:
    """What is missing and why it is needed, a line each."""
    lines = [f"{need.name}: {need.why}" for need in wanted] + ([AZURITE] if azurite else [])
    return "This is missing:\n" + "\n".join(f"  {line}" for line in lines)


def by_hand(wanted: Sequence[Need], *, azurite: bool, root: bool) -> str:
    """The whole of what to do by hand."""
    sudo = "" if root else "sudo "
    debian = " ".join(package_names(wanted))
    lines = [f"Debian, Ubuntu: {sudo}apt-get update && {sudo}apt-get install --no-install-recommends {debian}"]
    if fedora := _joined(need.fedora for need in wanted):
        lines.append(f"Fedora: {sudo}dnf install {fedora}")
    if arch := _joined(need.arch for need in wanted):
        lines.append(f"Arch: {sudo}pacman -S {arch}")
    if any(not (need.fedora and need.arch) for need in wanted):
        lines.append(_REGISTRY)
    return reasons(wanted, azurite=azurite) + "\nInstall it and run this again.\n" + "\n".join(f"  {x}" for x in lines)


def _joined(names: Iterable[str]) -> str:
    return " ".join(sorted({name for name in names if name}))
