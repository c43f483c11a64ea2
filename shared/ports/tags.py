"""Reading tags of a registry of any make."""

from collections.abc import Iterator
from typing import Protocol

import msgspec

from shared.domain.image import Digest, Tag
from shared.domain.policy import RegistryRule


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What a registry last said of its rate limit.

    `remaining` of `limit` requests are left in a window of `window_seconds` (0 where it does not say).
    `source` is what the registry counts by, Docker Hub's `docker-ratelimit-source`: an address or an account.
    """

    limit: int
    remaining: int
    window_seconds: int = 0
    source: str = ""


class TagReader(Protocol):
    """Says what a registry's tags point at; it changes nothing there.

    Every method may raise

    - `Throttled`: too many requests, look again after its `delay_seconds`;
    - `Retry`: the registry is away, slow or has a fault of its own;
    - `Misconfigured`: access is refused, the host is unknown, its certificate is not trusted, or it leads to an
      address that requests may not go to;
    - `Malformed`: an answer that breaks the specification;
    - `Rejected`: any other refusal.
    """

    def digest_of(self, registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        """The digest a tag points at now, or None where there is no such tag. Does not count as a pull."""
        ...

    def tags(self, registry: RegistryRule, repository: str) -> Iterator[Tag]:
        """The tags of a repository in the registry's order, read page by page as they are taken.

        Yields none where there is no such repository.
        """
        ...

    def allowance(self, registry: RegistryRule) -> Allowance | None:
        """What the registry last said of its rate limit, None where it has said nothing."""
        ...
