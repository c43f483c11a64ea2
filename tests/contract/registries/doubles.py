"""A double under a public name, and a reader that reaches it through a proxy as if it were out there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.adapters.oci import Limits, Network, OciTagReader
from shared.domain.policy import RegistryRule
from tests.contract.registries.doorway import Doorway
from tests.contract.registries.double import Asked, Certificates, Double, Reply
from tests.contract.registries.reading import Passwords, nobody

NAME = "registry.example.com"
ANYONE = RegistryRule(name="out-there", server=NAME)
MEMBER = RegistryRule(name="out-there", server=NAME, credentials="right")
SMALL = Limits(body_bytes=256 * 1024, page_size=3, pages=20)


@dataclass
class Doubles:
    """`play` puts a registry on; `asked` is what the registries of the stage were asked."""

    certificates: Certificates
    doubles: list[Double] = field(default_factory=list)
    doorway: Doorway = field(default_factory=lambda: Doorway({}))

    @property
    def asked(self) -> list[Asked]:
        return [asked for double in self.doubles for asked in double.asked]

    @property
    def network(self) -> Network:
        return Network(proxies={"https": self.doorway.url}, ca_bundle=str(self.certificates.bundle))

    def play(self, answer: Callable[[Asked], Reply], name: str = NAME, limits: Limits = SMALL) -> OciTagReader:
        """A reader, before a registry that answers so under a name."""
        double = Double(self.certificates, answer, name)
        self.doubles.append(double)
        self.doorway.ports[name] = double.port
        return OciTagReader(Passwords(), nobody, self.network, limits)

    def close(self) -> None:
        self.doorway.close()
        for double in self.doubles:
            double.close()


@contextmanager
def doubled(certificates: Certificates) -> Iterator[Doubles]:
    """A stage that is cleared afterwards."""
    doubles = Doubles(certificates)
    try:
        yield doubles
    finally:
        doubles.close()
