"""The shape of gates.yaml, as typed documents: what a person may write, with defaults and grammar.

`python -m shared.rules.schema` prints the JSON Schema that editors use.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", description="lower-case words joined by -")]
Duration = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,8}[smhd]$", description="a number and s, m, h or d, e.g. 30m")]
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
TagName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", description="a tag")]
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
Pace = Annotated[int, Meta(ge=1, le=100_000, description="a number from 1 to 100000")]
Newest = Annotated[int, Meta(ge=1, le=100, description="a number from 1 to 100")]
RangeText = Annotated[
    str,
    Meta(max_length=256, description="a range of versions: >=20 <21, ^20.1, ~3.19, 20.x, or several with ||"),
]
DriftChoice = Annotated[
    Literal["report", "repair"], Meta(description="report (drift is reported) or repair (it is repaired too)")
]
TaskName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{5,50}$", description="an ACR Task's name")]
SecretStem = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9-]{1,110}$", description="Key Vault secrets <stem>-user and <stem>-password"),
]
Values = dict[Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str]


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of gates.yaml. Any other key is an error."""


class RegistryDocument(Document, frozen=True, kw_only=True):
    """A registry: an Azure one by its id, any other by its server. A `private` one may have a private address."""

    id: Annotated[
        RegistryArmId | None, Meta(description="the resource id of an Azure registry; without it, a source only")
    ] = None
    server: LoginServer = ""
    credentials: SecretStem | None = None
    private: bool = False
    watch: Annotated[Duration | None, Meta(description="the least time between two reads of a repository")] = None
    pace: Annotated[Pace | None, Meta(description="requests a minute that all workers send at most")] = None


class VersionsDocument(Document, frozen=True, kw_only=True):
    """Which versions among the tags that match a pattern; a tag that carries no version is left out."""

    range: RangeText = ""
    newest: Annotated[Newest | None, Meta(description="how many tags of each pattern the sweep reads")] = None
    prereleases: bool = False


class SourceDocument(Document, frozen=True, kw_only=True):
    """The images a gate examines. A tag without * and ? is tracked whatever the versions."""

    registry: Name
    repository: RepositoryName
    tags: Annotated[list[TagPattern], Meta(min_length=1)]
    versions: VersionsDocument | None = None


class TaskCheckDocument(Document, frozen=True, kw_only=True):
    """An ACR Task that examines the candidate; it gets the values IMAGE (by digest) and TAG."""

    registry: Name
    task: TaskName
    timeout: Duration = "30m"
    values: Values = {}


class ApprovalCheckDocument(Document, frozen=True, kw_only=True):
    """A person approves, or rejects; with two_persons, not the one who asked for the run."""

    two_persons: bool = False


class CheckDocument(Document, frozen=True, kw_only=True):
    """One check: exactly one kind."""

    task: TaskCheckDocument | None = None
    approval: ApprovalCheckDocument | None = None


class PromoteDocument(Document, frozen=True, kw_only=True):
    """Where a passed digest goes."""

    registry: Name
    repository: RepositoryName
    unique: str = "{tag}-{run}"
    lock: bool = True
    by: Literal["copy", "task"] = "copy"


class GateDocument(Document, frozen=True, kw_only=True):
    """The rule for one family of upstream images."""

    source: SourceDocument
    checks: Annotated[list[CheckDocument], Meta(min_length=1)]
    promote: PromoteDocument
    drift: DriftChoice = "repair"
    silent_after: Annotated[
        Duration | None, Meta(description="alarm when no tracked tag has changed upstream for so long")
    ] = None


class BaseDocument(Document, frozen=True, kw_only=True):
    """The promoted image an app stands on."""

    gate: Name
    tag: TagName


class BuildDocument(Document, frozen=True, kw_only=True):
    """The ACR Task that builds the app; it gets the value BASE_IMAGE (by digest)."""

    registry: Name
    task: TaskName
    image: Annotated[str, Meta(description="repository:tag that the task pushes; {run} is its run id")]
    output: Annotated[
        Literal["listed", "by-tag"],
        Meta(description="whose image it is: listed as an output of the run, or else by-tag (docker push, buildx)"),
    ] = "listed"
    timeout: Duration = "30m"
    values: Values = {}


class HealthDocument(Document, frozen=True, kw_only=True):
    """When a deployment is healthy."""

    path: Annotated[str, Meta(pattern=r"^/[^\s]*$", description="a path that answers 2xx or 3xx")] = "/"
    within: Duration = "60s"


class DeployDocument(Document, frozen=True, kw_only=True):
    """The whole definition of the container group."""

    aci: Name
    resource_group: Annotated[str, Meta(pattern=r"^[-\w._()]{1,90}$")]
    subscription: Annotated[str, Meta(description="where it is not the one of the build's registry")] = ""
    location: Annotated[str, Meta(pattern=r"^[a-z0-9]+$")] = "eastus"
    port: Annotated[int, Meta(ge=1, le=65535)] = 80
    cpu: Annotated[float, Meta(gt=0, le=32)] = 1.0
    memory_gb: Annotated[float, Meta(gt=0, le=256)] = 1.0
    environment: Values = {}
    dns_label: str = ""
    identity: Annotated[str, Meta(description="id of a user-assigned identity that may pull")] = ""
    restart: Literal["Always", "OnFailure", "Never"] = "Always"
    health: HealthDocument = HealthDocument()


class AppDocument(Document, frozen=True, kw_only=True):
    """Something that stands on a promoted image."""

    base: BaseDocument
    build: BuildDocument
    deploy: DeployDocument | None = None
    drift: DriftChoice = "repair"


class GatesDocument(Document, frozen=True, kw_only=True):
    """gates.yaml."""

    registries: Annotated[dict[Name, RegistryDocument], Meta(min_length=1)]
    gates: Annotated[dict[Name, GateDocument], Meta(min_length=1)]
    apps: dict[Name, AppDocument] = {}
