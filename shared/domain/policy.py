"""The rules of gates.yaml: registries, gates and apps. Frozen, without I/O.

The types have the keys and values of the file: `shared/rules` parses it by them and generates its JSON Schema from
them, in which the first paragraph of a docstring is the description. Derived values are properties.
"""

import hashlib
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

import msgspec
from msgspec import Meta

from shared.domain.errors import Malformed
from shared.domain.tag_rule import TagRule
from shared.domain.versions import parse_range

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
    str, Meta(pattern=r"^[a-z0-9]+([._/-]+[a-z0-9]+)*$", max_length=255, description="a repository, e.g. library/node")
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
    str, Meta(max_length=256, description="a range of versions: >=20 <21, ^20.1, ~3.19, 20.x, or several with ||")
]
SecretStem = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9-]{1,110}$", description="Key Vault secrets <stem>-user and <stem>-password")
]
VulnerabilityId = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/+-]{2,127}$",
        description="the id of a vulnerability, e.g. CVE-2026-1234, or another id of the same one",
    ),
]
Until = Annotated[
    str,
    Meta(
        pattern=r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2}))?$",
        description="a day, e.g. 2026-12-31 (to its end, in UTC), or a time with its zone, e.g. 2026-12-31T12:00Z",
    ),
]
Sentence = Annotated[str, Meta(pattern=r"\S", max_length=1000, description="a text of 1 to 1000 characters")]
Values = Mapping[Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DOCKER_HUB = "docker.io"
_DOCKER_HUB_NAMES = frozenset((DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"))

_RUN_ID = re.compile(r"(?!latest$)[a-z]{2}[0-9a-z]{1,4}")
"""Two letters and a counter in base 36: ca4, cab, cf2a. Azure publishes no grammar; `latest` would be past 10^6."""

_CENTURY_SECONDS = 100 * 365 * 86_400
"""The limit of a duration that is subtracted from a date: years begin with 1."""

Drift = Annotated[
    Literal["report", "repair"], Meta(description="report (drift is reported) or repair (it is repaired too)")
]
"""What the sweep does about drift."""

ReferrerRule = Annotated[
    Literal["copy", "ignore"],
    Meta(description="copy (signatures, SBOMs and attestations of the digest upstream are copied with it) or ignore"),
]
"""What is done with what is attached to a digest upstream."""


def seconds(duration: Duration | None) -> int:
    """The seconds of a duration; 0 if there is none."""
    return int(duration[:-1]) * _SECONDS[duration[-1]] if duration else 0


def time_before(now: datetime, duration: Duration) -> datetime:
    """The time that lies a duration before another one; at most a century."""
    return now - timedelta(seconds=min(seconds(duration), _CENTURY_SECONDS))


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of gates.yaml: its fields are the allowed keys; any other key is an error."""


class NamedRule(Rule, frozen=True, kw_only=True):
    """A rule whose `name` is its key in the file: `parse_gates` sets it."""

    name: str = ""


class RegistryRule(NamedRule, frozen=True, kw_only=True):
    """A registry: an Azure one by its id, any other by its server. A `private` one may have a private address.

    Without `credentials`, an Azure registry is read with the app's identity, any other anonymously.
    """

    id: Annotated[
        RegistryArmId | None, Meta(description="the resource id of an Azure registry; without it, a source only")
    ] = None
    server: LoginServer = ""
    credentials: SecretStem | None = None
    private: bool = False
    interval: Annotated[Duration | None, Meta(description="the minimum time between two reads of a repository")] = None
    requests_per_minute: Annotated[
        RequestsPerMinute | None, Meta(description="the maximum number of requests per minute, of all workers together")
    ] = None

    @property
    def is_azure(self) -> bool:
        """Whether it is an Azure Container Registry, which has events, tasks and importImage."""
        return bool(self.id)

    @property
    def subscription(self) -> str:
        """The Azure subscription it is in, or ""."""
        return self.id.split("/")[2] if self.id else ""

    @property
    def login_server(self) -> str:
        """Its host name; all names of Docker Hub become the one that importImage and image names use."""
        server = self.server or (f"{self.id.rpartition('/')[2].lower()}.azurecr.io" if self.id else "")
        return DOCKER_HUB if server in _DOCKER_HUB_NAMES else server

    def full_name(self, repository: str) -> str:
        """The full name of a repository: Docker Hub's official images are under `library/`, with or without it.

        Source: https://github.com/distribution/reference/blob/main/normalize.go
        """
        is_official = self.login_server == DOCKER_HUB and "/" not in repository
        return f"library/{repository}" if is_official else repository


class VersionRule(Rule, frozen=True, kw_only=True):
    """The tracked versions among the tags that match a pattern; a tag without a version is not tracked."""

    range: RangeText = ""
    newest: Annotated[Newest | None, Meta(description="how many tags of each pattern the sweep reads")] = None
    prereleases: bool = False


class Source(Rule, frozen=True, kw_only=True, dict=True):
    """The images that a gate examines. A tag without * and ? is tracked whatever its version."""

    registry: Name
    repository: RepositoryName
    tags: Annotated[tuple[TagPattern, ...], Meta(min_length=1)]
    versions: VersionRule | None = None

    @cached_property
    def tracked(self) -> TagRule:
        """The tags that it tracks.

        Raises:
            Malformed: its range of versions is invalid.
        """
        if self.versions is None:
            return TagRule.of(self.tags)
        versions = parse_range(self.versions.range, "versions.range")
        return TagRule.of(self.tags, versions, self.versions.newest or 0, prereleases=self.versions.prereleases)

    @property
    def tags_in_words(self) -> str:
        """The tags that it tracks, for error texts: `*-alpine, lts (versions >=20 <21)`."""
        tags, rule = ", ".join(self.tags), self.versions
        if rule is None:
            return tags
        prereleases = ", pre-releases too" if rule.prereleases else ""
        return f"{tags} (versions {rule.range or 'of any range'}{prereleases})"


class TaskRule(Rule, frozen=True, kw_only=True):
    """An ACR Task, and the values that it gets."""

    registry: Name
    task: TaskName
    timeout: Duration = "30m"
    values: Values = {}


class PlugInRule:
    """A rule whose key in gates.yaml is its kind, `task: {…}`: each kind has its own type.

    To msgspec it is a custom type, which `parse_gates` converts: this module does not know the kinds.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """Its key in gates.yaml, and of a check the kind of its record."""

    def shown(self) -> Self:
        """The rule for readers: without confidential values."""
        return self


@cache
def plug_in_type(name: str, described: str, kinds: tuple[type[PlugInRule], ...]) -> type[msgspec.Struct]:
    """The type of a part of gates.yaml with a key for each kind, of which exactly one has a rule."""
    keys = [(rule.kind, rule | None, None) for rule in kinds]
    return msgspec.defstruct(name, keys, bases=(Rule,), namespace={"__doc__": described}, frozen=True, kw_only=True)


class Phase(IntEnum):
    """When a check runs. A phase begins when the one before has passed: cheap checks come first."""

    READ = 0
    """It reads registries, and starts nothing: it is not claimed, and may be done twice."""

    RUN = 1
    """It starts a run; the checks of this phase run side by side."""

    PERSON = 2
    """A person decides; one after another."""


class CheckRule(PlugInRule):
    """The rule of one check of a gate: each kind of check has its own, in `shared/checks`."""

    __slots__ = ()

    phase: ClassVar[Phase] = Phase.RUN

    judging: ClassVar[frozenset[str]] = frozenset()
    """The keys that only say how the result of a run is judged: if they change, nothing is run again."""

    besides: ClassVar[frozenset[str]] = frozenset()
    """The keys that say nothing about the verdict: if they change, it stays."""

    @property
    def fingerprint(self) -> str:
        """Identifies the meaning of its verdict."""
        return fingerprint_of(_meaning(self))

    @property
    def run_fingerprint(self) -> str:
        """Identifies what it runs, however the result is judged."""
        return fingerprint_of({key: value for key, value in _meaning(self).items() if key not in self.judging})

    def problems(self, policy: "Policy", *, signs_in: bool) -> Iterator[tuple[str, str]]:
        """Its conflicts with the other rules, by key (`cosign.key` for one within another).

        `signs_in`: callers are signed in, so that names are known.
        """
        yield from ()


def _meaning(check: CheckRule) -> dict[str, Any]:
    """What a verdict of a check depends on: its rule without its timeout, and without what is beside the verdict."""
    written = msgspec.to_builtins(check)
    values: dict[str, Any] = {"kind": check.kind} | {key: written[key] for key in written if key not in check.besides}
    if values.pop("timeout", ""):
        values["timeout_seconds"] = 0  # the fingerprints in existing ledgers have it
    return values


def fingerprint_of(meaning: object) -> str:
    """A short hash of plain values."""
    return hashlib.sha256(msgspec.json.encode(meaning, order="deterministic")).hexdigest()[:16]


class PromotionRule(Rule, frozen=True, kw_only=True):
    """The target of a passed digest.

    `unique` is a pattern with `{tag}` and `{run}`. Basegate copies the image (`by: copy`), or the gate's own task does
    (`by: task`).
    """

    registry: Name
    repository: RepositoryName
    unique: str = "{tag}-{run}"
    lock: bool = True
    by: Literal["copy", "task"] = "copy"
    keep: Annotated[
        Duration | None, Meta(description="the age at which unused unique tags are deleted (default: never)")
    ] = None
    at_least: Annotated[
        int, Meta(ge=1, le=1000, description="a number from 1 to 1000: the rollback options that are always kept")
    ] = 10

    @property
    def locks_copies(self) -> bool:
        """Whether Basegate locks the unique tags."""
        return self.lock and self.by == "copy"

    def unique_tag(self, tag: str, run: str) -> str:
        """The unique tag of a promotion with the id of a run."""
        return self.unique.replace("{tag}", tag).replace("{run}", run)

    def is_unique_tag(self, name: str, tag: str) -> bool:
        """Whether a name may be a unique tag for a stable tag."""
        around_the_run = map(re.escape, self.unique.replace("{tag}", tag).split("{run}"))
        return name != tag and re.fullmatch(".+".join(around_the_run), name) is not None

    def kept_since(self, now: datetime) -> datetime | None:
        """Unique tags created since then are kept, used or not; None: all are kept."""
        return time_before(now, self.keep) if self.keep else None


class Gate(NamedRule, frozen=True, kw_only=True, dict=True):
    """The rule for one family of upstream images."""

    source: Source
    checks: Annotated[tuple[CheckRule, ...], Meta(min_length=1)]
    promote: PromotionRule
    drift: Drift = "repair"
    referrers: ReferrerRule = "copy"
    stale_after: Annotated[
        Duration | None, Meta(description="alarm when no tracked tag has changed upstream for so long")
    ] = None

    def takes(self, tag: str | None) -> bool:
        """Whether the gate tracks a tag of its source, by its name and version.

        One tag does not show whether it is one of the `newest`: that limits the sweep, not push events.
        """
        return tag is not None and self.source.tracked.takes(tag)

    @cached_property
    def fingerprint(self) -> str:
        """Identifies these checks: a verdict is valid only for the checks that led to it.

        Timeouts are left out: they do not change the meaning of a verdict.
        """
        return fingerprint_of(list(map(_meaning, self.checks)))

    @cached_property
    def first_check(self) -> int:
        """The index of the check that runs first."""
        return self.due(range(len(self.checks)))[0]

    def due(self, left: Sequence[int]) -> list[int]:
        """Of the checks that are left, by index, those whose turn it is: those of a phase, of which persons decide one
        by one.

        Where the gate's own task pushes the stable tag, only checks that just read come before the order of the rules:
        what is to be decided before it pushes stands before it.
        """
        phase = min((self.checks[index].phase for index in left), default=Phase.READ)
        due = [index for index in left if self.checks[index].phase is phase]
        if self.promote.by == "task" and phase is not Phase.READ:
            return list(left[:1])
        return due[:1] if phase is Phase.PERSON else due


class BuildRule(TaskRule, frozen=True, kw_only=True):
    """The ACR Task that builds the app; it gets the value BASE_IMAGE (by digest)."""

    image: Annotated[str, Meta(description="repository:tag that the task pushes; {run} is its run id")]
    output: Annotated[
        Literal["listed", "by-tag"],
        Meta(description="listed (the run lists its image) or by-tag (it pushed the tag: docker push, buildx)"),
    ] = "listed"

    @property
    def repository(self) -> str:
        """The repository part of `image`."""
        return self.image.rpartition(":")[0]

    def tag_of(self, run_id: str) -> str:
        """The tag that a run pushes."""
        return self.image.rpartition(":")[2].replace("{run}", run_id)

    def run_of(self, tag: str) -> str | None:
        """The id of a run in a tag, None if the tag does not match the pattern, or the id cannot be that of a run.

        `dev` may be a run's id, but is more likely a tag that moves: only the registry knows its runs.
        """
        before, marker, after = self.image.rpartition(":")[2].partition("{run}")
        fits = marker and tag.startswith(before) and tag.endswith(after)
        run_id = tag[len(before) : len(tag) - len(after)] if fits else ""
        return run_id if _RUN_ID.fullmatch(run_id) else None


class HealthRule(Rule, frozen=True, kw_only=True):
    """When a deployment is healthy."""

    path: Annotated[str, Meta(pattern=r"^/[^\s]*$", description="a path that answers 2xx or 3xx")] = "/"
    within: Duration = "60s"
    """How long a new deployment may take to become healthy."""


class DeployRule(PlugInRule):
    """The deployment of an app: each target has its own type, in `shared/domain/targets`."""

    __slots__ = ()

    name: str
    """The name of the deployment, and the subject of its alarms."""

    health: HealthRule

    @property
    def place(self) -> str:
        """The deployment in error texts."""
        return f"{self.kind} {self.name}"

    @property
    def occupies(self) -> Hashable:
        """The identity of the deployment: two apps with the same one would overwrite each other."""
        return self.kind, self.name

    def completed(self, registry: RegistryRule) -> Self:
        """The rule with defaults from the registry that the app is built in."""
        return self


class BaseRule(Rule, frozen=True, kw_only=True):
    """The promoted image that an app is built on."""

    gate: Name
    tag: TagName


class App(NamedRule, frozen=True, kw_only=True):
    """An image that is built on a promoted one.

    Without `deploy` it is only built.
    """

    base: BaseRule
    build: BuildRule
    deploy: DeployRule | None = None
    drift: Drift = "repair"


class ExceptionRule(Rule, frozen=True, kw_only=True):
    """A vulnerability that is accepted until a time: where it covers a finding, that finding does not fail a scan.

    Without `package` it covers all packages, without `gates` all gates.
    """

    vulnerability: VulnerabilityId
    package: Annotated[
        str, Meta(max_length=1000, description="a package: its name, name@version, or a purl with or without version")
    ] = ""
    gates: tuple[Name, ...] = ()
    justification: Sentence
    author: Sentence
    until: Until

    @property
    def ends_at(self) -> datetime:
        """When it ends: a day lasts to its end in UTC.

        Raises:
            Malformed: there is no such day or time.
        """
        try:
            written = datetime.fromisoformat(self.until)
        except ValueError as error:
            raise Malformed("until", f"{self.until!r} is no day or time: {error}") from None
        return written if written.tzinfo else written.replace(tzinfo=UTC) + timedelta(days=1)


class Policy(Rule, frozen=True, kw_only=True):
    """gates.yaml.

    All rules, with lookups.
    """

    registries: Annotated[Mapping[Name, RegistryRule], Meta(min_length=1)]
    gates: Annotated[Mapping[Name, Gate], Meta(min_length=1)]
    apps: Mapping[Name, App] = {}
    exceptions: tuple[ExceptionRule, ...] = ()

    def registry_by_id(self, registry_id: str) -> RegistryRule | None:
        """The registry with that ARM id, ignoring case."""
        wanted = registry_id.lower()
        return next((r for r in self.registries.values() if r.id and r.id.lower() == wanted), None)

    def registry_at(self, login_server: str) -> RegistryRule | None:
        """The registry with that host name."""
        return next((rule for rule in self.registries.values() if rule.login_server == login_server), None)

    def registry_problem(self, name: str, use: str = "") -> str:
        """Why a registry cannot be used, else "": it is unknown, or not an Azure registry, which `use` requires."""
        registry = self.registries.get(name)
        if registry is None:
            return f"there is no registry {name!r} (known: {', '.join(self.registries)})"
        if use and registry.login_server and not registry.is_azure:
            return f"registry {name} has no `id`: {use} Azure registries only"
        return ""

    def gates_for(self, registry: RegistryRule, repository: str, tag: str) -> Iterator[Gate]:
        """The gates that track a tag of a repository."""
        for gate in self.gates.values():
            if (gate.source.registry, gate.source.repository) == (registry.name, repository) and gate.takes(tag):
                yield gate

    def gates_into(self, registry: RegistryRule, repository: str) -> Iterator[Gate]:
        """The gates that promote into a repository."""
        for gate in self.gates.values():
            if (gate.promote.registry, gate.promote.repository) == (registry.name, repository):
                yield gate

    def apps_built_as(self, registry: RegistryRule, repository: str) -> Iterator[App]:
        """The apps whose images are pushed into a repository."""
        for app in self.apps.values():
            if (app.build.registry, app.build.repository) == (registry.name, repository):
                yield app

    def apps_on(self, gate: str, tag: str) -> Iterator[App]:
        """The apps built on a stable tag."""
        return (app for app in self.apps.values() if app.base.gate == gate and app.base.tag == tag)
