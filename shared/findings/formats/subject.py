"""What an image is called: its digests and its platform, as scanners write them."""

import re
from collections.abc import Iterable

_DIGEST = re.compile(r"(?:^|@|%40)(sha256(?::|%3[Aa])[0-9a-f]{64}|sha512(?::|%3[Aa])[0-9a-f]{128})(?![0-9a-f])")


def digests_in(names: Iterable[str | None]) -> tuple[str, ...]:
    """The digests that names of an image end with (`node@sha256:…`), or that they are, without duplicates."""
    found = (_DIGEST.search(name) for name in names if name)
    return tuple(dict.fromkeys(re.sub("%3[Aa]", ":", one[1]) for one in found if one))


def platform(os: str | None, architecture: str | None, variant: str | None = "") -> str:
    """A platform as OCI writes it, `linux/arm64/v8`; "" if one of the first two parts is missing."""
    return "/".join(part for part in (os, architecture, variant) if part) if os and architecture else ""
