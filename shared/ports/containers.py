"""Where apps run, and how their health is asked for."""

from typing import Protocol

import msgspec

from shared.domain.policy import DeployRule, RegistryRule
from shared.domain.rollout import BuiltImage


class GroupState(msgspec.Struct, frozen=True, kw_only=True):
    """What a container group looks like now.

    `image` is what its definition names: an app's image is put by digest, `BuiltImage.reference`. `address` is
    `host:port` or ""; `failed` says that it will not come up by itself, `stopped` that somebody has stopped it;
    `detail` is for the reader.
    """

    image: str
    running: bool
    failed: bool = False
    stopped: bool = False
    restarts: int = 0
    address: str = ""
    detail: str = ""


class ContainerRunner(Protocol):
    """Azure Container Instances."""

    def put(self, rule: DeployRule, image: BuiltImage, registry: RegistryRule) -> None:
        """Send the whole definition of a container group with an image, by its digest.

        Raises:
            Transitioning: an earlier change goes on.
            NeedsRecreation: it cannot be changed in place.
            Rejected: the definition or the image is refused.
        """
        ...

    def get(self, rule: DeployRule) -> GroupState | None:
        """What the group looks like, or None where there is none."""
        ...

    def delete(self, rule: DeployRule) -> None:
        """Delete a group; one that is gone already is fine."""
        ...


class Probe(Protocol):
    """Asks a deployed app whether it is well."""

    def check(self, address: str, path: str) -> str | None:
        """None if `http://address/path` answers 2xx or 3xx, else what it did instead."""
        ...
