"""Instructions for a manual installation: everything that is missing, and commands for the usual systems."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sandbox.needs.wanted import Need

AZURITE = "Azurite: is the storage emulator (npm installs it on the next run)"

_REGISTRY = (
    "elsewhere docker-registry is the program `registry` of https://github.com/distribution/distribution/releases "
    "(2.8), put on the PATH as docker-registry"
)


def package_names(needs: Sequence[Need]) -> list[str]:
    """The Debian packages of these needs."""
    return sorted({package for need in needs for package in need.packages})


def reasons(needs: Sequence[Need], *, azurite: bool) -> str:
    """What is missing and why it is needed, one per line."""
    lines = [f"{need.name}: {need.why}" for need in needs] + ([AZURITE] if azurite else [])
    return "This is missing:\n" + "\n".join(f"  {line}" for line in lines)


def by_hand(needs: Sequence[Need], *, azurite: bool, root: bool) -> str:
    """The complete instructions for a manual installation."""
    sudo = "" if root else "sudo "
    debian = " ".join(package_names(needs))
    lines = [f"Debian, Ubuntu: {sudo}apt-get update && {sudo}apt-get install --no-install-recommends {debian}"]
    if fedora := _joined(need.fedora for need in needs):
        lines.append(f"Fedora: {sudo}dnf install {fedora}")
    if arch := _joined(need.arch for need in needs):
        lines.append(f"Arch: {sudo}pacman -S {arch}")
    if any(not (need.fedora and need.arch) for need in needs):
        lines.append(_REGISTRY)
    return reasons(needs, azurite=azurite) + "\nInstall it and run this again.\n" + "\n".join(f"  {x}" for x in lines)


def _joined(names: Iterable[str]) -> str:
    return " ".join(sorted({name for name in names if name}))
