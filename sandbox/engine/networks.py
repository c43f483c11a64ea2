"""Networks of this instance's containers, with names, interfaces and subnets that no other instance has."""

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
    """A 10.89.x.0/24 subnet, reserved for this process until `release`.

    The reservation is a socket bound to an abstract name: it lasts as long as the process, for exactly the network
    namespace whose bridges could collide, and leaves no file behind.
    """

    def __init__(self, third: int, hold: socket.socket) -> None:
        self._hold, self._third = hold, third
        self._taken: set[int] = set()

    @property
    def prefix(self) -> str:
        """The first three octets with their dots."""
        return f"10.89.{self._third}."

    def allocate(self) -> str:
        """Allocate a free address. Raises `EngineError` if all are in use."""
        for host in range(_FIRST_HOST, _LAST_HOST + 1):
            if host not in self._taken:
                self._taken.add(host)
                return f"{self.prefix}{host}"
        raise EngineError(f"All addresses of {self.prefix}0/24 are in use.")

    def release_address(self, address: str) -> None:
        """Release an address."""
        if address.startswith(self.prefix):
            self._taken.discard(int(address.rsplit(".", 1)[1]))

    def release(self) -> None:
        """Release the whole subnet."""
        self._hold.close()


def claim_subnet(seed: str) -> Subnet:
    """Reserve a free subnet; the same seed yields the same one as long as it is free.

    Raises:
        EngineError: if all are routed or reserved.
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
    """A bridge network of this instance, created when the first address is allocated.

    It is internal: this machine reaches the containers, and they reach each other, but no other machine.

    Its name is new each time. podman records root's addresses by network name, in one file for the whole
    machine (/run/containers/networks/ipam.db), and those of a killed process stay there until the machine restarts.
    """

    def __init__(self, folder: Path, seed: str, interface: str) -> None:
        self.name = f"{seed}-{secrets.token_hex(4)}"
        self._folder, self._seed, self._interface = folder, seed, interface
        self._subnet: Subnet | None = None

    def allocate(self) -> str:
        """Allocate a free address. Raises `EngineError` if there is none."""
        if self._subnet is None:
            self._subnet = claim_subnet(self._seed)
            self._write(self._subnet)
        return self._subnet.allocate()

    def release_address(self, address: str) -> None:
        """Release an address."""
        if self._subnet:
            self._subnet.release_address(address)

    async def remove(self, podman: CommandLine) -> None:
        """Remove the network, which must no longer be used by any container."""
        if self._subnet:
            await podman.capture(["network", "rm", "--force", self.name])
            self._subnet.release()
            self._subnet = None

    def _write(self, subnet: Subnet) -> None:
        """Write the network's configuration for netavark, like `podman network create`.

        That command is not used because podman 4 has no option for the interface name, and would give the bridges of
        two instances the same one. No DNS: it would be another daemon, and names are in /etc/hosts.
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
