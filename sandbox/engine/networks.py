"""Networks of this instance's containers: names, interfaces and subnets that no other instance has."""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
import struct
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from sandbox.engine.command import CommandLine
from sandbox.engine.contract import EngineError

_ROUTES = Path("/proc/net/route")
_POOL = range(1, 250)
_FIRST_HOST, _LAST_HOST = 2, 254


class Subnet:
    """One 10.89.x.0/24, held for this process alone until `release`.

    The hold is a socket bound to an abstract name: the kernel keeps it as long as the process lives, for exactly the
    network namespace whose bridges could collide, and no file is left behind.
    """

    def __init__(self, third: int, hold: socket.socket) -> None:
        self._hold, self._third = hold, third
        self._taken: set[int] = set()

    @property
    def prefix(self) -> str:
        """The first three octets with their dots."""
        return f"10.89.{self._third}."

    def allocate(self) -> str:
        """An address no one has. Raises `EngineError` when all are taken."""
        for host in range(_FIRST_HOST, _LAST_HOST + 1):
            if host not in self._taken:
                self._taken.add(host)
                return f"{self.prefix}{host}"
        raise EngineError(f"All addresses of {self.prefix}0/24 are in use.")

    def release_address(self, address: str) -> None:
        """Give an address back."""
        if address.startswith(self.prefix):
            self._taken.discard(int(address.rsplit(".", 1)[1]))

    def release(self) -> None:
        """Give the whole subnet back."""
        self._hold.close()


def claim_subnet(seed: str) -> Subnet:
    """Find a free subnet; the same seed finds the same one as long as it is free.

    Raises:
        EngineError: where every one is routed or held.
    """
    start = int(hashlib.sha256(seed.encode()).hexdigest(), 16)
    routed = _routed()
    for step in range(len(_POOL)):
        third = _POOL[(start + step) % len(_POOL)]
        if (10, 89, third) in routed:
            continue
        hold = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            hold.bind(f"\0basegate-subnet-10.89.{third}")
        except OSError:
            hold.close()
            continue
        return Subnet(third, hold)
    raise EngineError("Every subnet in 10.89.0.0/16 is in use on this machine.")


def _routed() -> set[tuple[int, int, int]]:
    found = set()
    with suppress(OSError):
        for line in _ROUTES.read_text().splitlines()[1:]:
            octets = struct.pack("<I", int(line.split()[1], 16))
            found.add((octets[0], octets[1], octets[2]))
    return found


class Network:
    """A bridge network of this instance, made when somebody first asks for an address.

    It is internal: this machine reaches the containers and they each other, but nothing else.

    Its name is a new one each time. podman records root's addresses by the network's name, in one file for the whole
    machine (/run/containers/networks/ipam.db), and those of a killed process stay there until the machine restarts.
    """

    def __init__(self, folder: Path, seed: str, interface: str) -> None:
        self.name = f"{seed}-{secrets.token_hex(4)}"
        self._folder, self._seed, self._interface = folder, seed, interface
        self._subnet: Subnet | None = None

    def allocate(self) -> str:
        """An address no one has. Raises `EngineError` when there is none."""
        if self._subnet is None:
            self._subnet = claim_subnet(self._seed)
            self._write(self._subnet)
        return self._subnet.allocate()

    def release_address(self, address: str) -> None:
        """Give an address back."""
        if self._subnet:
            self._subnet.release_address(address)

    async def remove(self, podman: CommandLine) -> None:
        """Remove the network, which no container may use any more."""
        if self._subnet:
            await podman.capture(["network", "rm", "--force", self.name])
            self._subnet.release()
            self._subnet = None

    def _write(self, subnet: Subnet) -> None:
        """Describe the network to netavark, as `podman network create` would.

        Written by hand because podman 4 cannot be told the interface's name, and would give the bridges of two
        instances the same one. No DNS: it would be one more daemon, and names go to /etc/hosts.
        """
        network = {
            "name": self.name,
            "id": hashlib.sha256(self.name.encode()).hexdigest(),
            "driver": "bridge",
            "network_interface": self._interface,
            "created": datetime.now(UTC).isoformat(),
            "subnets": [{"subnet": f"{subnet.prefix}0/24", "gateway": f"{subnet.prefix}1"}],
            "ipv6_enabled": False,
            "internal": True,
            "dns_enabled": False,
            "ipam_options": {"driver": "host-local"},
        }
        (self._folder / f"{self.name}.json").write_text(json.dumps(network, indent=1))
