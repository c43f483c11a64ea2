"""The grammar of names, durations and patterns in gates.yaml, for the types of the rules."""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", description="lower-case words joined by -")]
Duration = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,8}[smhd]$", description="a number and s, m, h or d, e.g. 30m")]
TagName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", description="a tag")]
RequestsPerMinute = Annotated[int, Meta(ge=1, le=100_000, description="a number from 1 to 100000")]
Newest = Annotated[int, Meta(ge=1, le=100, description="a number from 1 to 100")]
TaskName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{5,50}$", description="an ACR Task's name")]
RegistryArmId = Annotated[
    str,
    Meta(
        pattern=r"(?i)^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.ContainerRegistry/registries/[a-zA-Z0-9]{5,50}$",
        description="the registry's Azure resource id",
    ),
]
RepositoryName = Annotated[
    str,
    Meta(pattern=r"^[a-z0-9]+([._/-]+[a-z0-9]+)*$", max_length=255, description="a repository, e.g. library/node"),
]
TagPattern = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_*?][A-Za-z0-9._*?-]{0,127}$",
        description="a tag, or a pattern with * and ? (no brackets, no regular expression)",
    ),
]
LoginServer = Annotated[
    str,
    Meta(
        pattern=r"^([a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?(:[1-9][0-9]{0,4})?)?$",
        description="a lower-case host name, with a port where it is not 443 and without https://",
    ),
]
RangeText = Annotated[
    str,
    Meta(max_length=256, description="a range of versions: >=20 <21, ^20.1, ~3.19, 20.x, or several with ||"),
]
SecretStem = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9-]{1,110}$", description="Key Vault secrets <stem>-user and <stem>-password"),
]
Values = Mapping[Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(duration: Duration | None) -> int:
    """The seconds of a duration; 0 if there is none."""
    return int(duration[:-1]) * _SECONDS[duration[-1]] if duration else 0
