"""The rules a person wrote: gates, apps and the registries they speak of. Frozen, without I/O.

They are as they stand in gates.yaml, under the same keys and with the same values, and their types are its grammar:
`shared/rules` reads it by them, and makes its JSON Schema of them, where the first paragraph of a class describes it.
What follows from what is written is a property.
"""

import hashlib
import re
from collections.abc import Hashable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self

import msgspec
from msgspec import Meta

from shared.domain.grammar import (
    Duration,
    LoginServer,
    Name,
    Newest,
    RangeText,
    RegistryArmId,
    RepositoryName,
    RequestsPerMinute,
    SecretStem,
    TagName,
    TagPattern,
    TaskName,
    Values,
    seconds,
)
from shared.domain.tag_rule import TagRule

DOCKER_HUB = "docker.io"
_DOCKER_HUB_NAMES = frozenset((DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"))

_RUN_ID = re.compile(r"(?!latest$)[a-z]{2}[0-9a-z]{1,4}")
"""Two letters and a counter in base 36: ca4, cab, cf2a. Azure publishes no grammar; `latest` would be past 10^6."""

_CENTURY_SECONDS = 100 * 365 * 86_400
"""Longer than anything is kept: moments end with the calendar."""

Drift = Annotated[
    Literal["report", "repair"], Meta(description="report (drift is reported) or repair (it is repaired too)")
]
"""What the sweep does about a difference that no event told of."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of gates.yaml: its fields are the keys that may be written, and any other key is an error."""


class NamedRule(Rule, frozen=True, kw_only=True):
    """A rule whose `name` is the key it stands under: nobody writes it, `parse_gates` fills it in."""

    name: str = ""


class RegistryRule(NamedRule, frozen=True, kw_only=True):
    """A registry: an Azure one by its id, any other by its server. A `private` one may have a private address.

    Without `credentials`, the app's own identity, or nobody's, is enough.
    """

    id: Annotated[
        RegistryArmId | None, Meta(description="the resource id of an Azure registry; without it, a source only")
    ] = None
    server: LoginServer = ""
    credentials: SecretStem | None = None
    private: bool = False
    interval: Annotated[Duration | None, Meta(description="the least time between two reads of a repository")] = None
    requests_per_minute: Annotated[
        RequestsPerMinute | None, Meta(description="requests a minute that all workers send at most")
    ] = None

    @property
    def is_azure(self) -> bool:
        """Whether it is an Azure Container Registry: with events, tasks and importImage into it."""
        return bool(self.id)

    @property
    def subscription(self) -> str:
        """The Azure subscription it is in, or ""."""
        return self.id.split("/")[2] if self.id else ""

    @property
    def login_server(self) -> str:
        """Its host name; Docker Hub's other names are made one, which importImage and image names have too."""
        server = self.server or (f"{self.id.rpartition('/')[2].lower()}.azurecr.io" if self.id else "")
        return DOCKER_HUB if server in _DOCKER_HUB_NAMES else server

    def full_name(self, repository: str) -> str:
        """A repository's whole name: Docker Hub's official images are under `library/`, however they are written.

        Source: https://github.com/distribution/reference/blob/main/normalize.go
        """
        is_official = self.login_server == DOCKER_HUB and "/" not in repository
        return f"library/{repository}" if is_official else repository

    @property
    def interval_seconds(self) -> int:
        """How long the sweep leaves a repository alone between two looks; 0: every sweep looks."""
        return seconds(self.interval)


class VersionRule(Rule, frozen=True, kw_only=True):
    """Which versions among the tags that match a pattern; a tag that carries no version is left out."""

    range: RangeText = ""
    newest: Annotated[Newest | None, Meta(description="how many tags of each pattern the sweep reads")] = None
    prereleases: bool = False


class Source(Rule, frozen=True, kw_only=True):
    """The images a gate examines. A tag without * and ? is tracked whatever the versions."""

    registry: Name
    repository: RepositoryName
    tags: Annotated[tuple[TagPattern, ...], Meta(min_length=1)]
    versions: VersionRule | None = None


class TaskRule(Rule, frozen=True, kw_only=True):
    """An ACR Task that is run, and the values it gets."""

    registry: Name
    task: TaskName
    timeout: Duration = "30m"
    values: Values = {}

    @property
    def timeout_seconds(self) -> int:
        """How long a run may take."""
        return seconds(self.timeout)


class CheckRule:
    """The rule of one check of a gate, with the grammar of its kind: each kind has its own type, in `shared/checks`.

    In gates.yaml it stands under its kind, `task: {…}`. To msgspec it is a custom type, which `parse_gates` converts:
    only that knows which kinds there are.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """The key that the rule stands under in gates.yaml, and the kind of its record."""

    def problems(self, policy: "Policy", *, signs_in: bool) -> Iterator[tuple[str, str]]:
        """What of it does not fit the other rules, by its key; `signs_in` says that persons are known by name."""
        yield from ()

    def shown(self) -> Self:
        """The rule as it is answered and shown: without values that are nobody else's business."""
        return self


class PromotionRule(Rule, frozen=True, kw_only=True):
    """Where a passed digest goes.

    `unique` is a pattern of `{tag}` and `{run}`. Basegate copies (`by: copy`), or the gate's own task does (`by: task`,
    the article's way).
    """

    registry: Name
    repository: RepositoryName
    unique: str = "{tag}-{run}"
    lock: bool = True
    by: Literal["copy", "task"] = "copy"
    keep: Annotated[
        Duration | None,
        Meta(description="unused unique tags are deleted when they are older (else none is deleted)"),
    ] = None
    at_least: Annotated[
        int, Meta(ge=1, le=1000, description="how many digests a stable tag can go back to stay, however old")
    ] = 10

    @property
    def locks_copies(self) -> bool:
        """Whether Basegate locks the unique tags."""
        return self.lock and self.by == "copy"

    def unique_tag(self, tag: str, run: str) -> str:
        """The unique tag of a promotion that a run stands for."""
        return self.unique.replace("{tag}", tag).replace("{run}", run)

    def is_unique_tag(self, name: str, tag: str) -> bool:
        """Whether a name may be a unique tag of promotions to a stable tag."""
        around_the_run = map(re.escape, self.unique.replace("{tag}", tag).split("{run}"))
        return name != tag and re.fullmatch(".+".join(around_the_run), name) is not None

    def kept_since(self, now: datetime) -> datetime | None:
        """Unique tags created since then are kept, used or not; None if none is ever deleted."""
        return now - timedelta(seconds=min(seconds(self.keep), _CENTURY_SECONDS)) if self.keep else None


class Gate(NamedRule, frozen=True, kw_only=True, dict=True):
    """The rule for one family of upstream images."""

    source: Source
    checks: Annotated[tuple[CheckRule, ...], Meta(min_length=1)]
    promote: PromotionRule
    drift: Drift = "repair"
    stale_after: Annotated[
        Duration | None, Meta(description="alarm when no tracked tag has changed upstream for so long")
    ] = None

    @property
    def stale_after_seconds(self) -> int:
        """After how long without a change upstream to alarm; 0: never."""
        return seconds(self.stale_after)

    def takes(self, tag: str | None) -> bool:
        """Whether a tag of the source is this gate's business, by its name and its version.

        A tag alone cannot tell whether it is one of the `newest`: a push event is not held to that, the sweep is.
        """
        return tag is not None and TagRule.of(self.source).takes(tag)

    @cached_property
    def fingerprint(self) -> str:
        """Names these checks: a verdict counts only under the checks it was reached with.

        How long a check may take is left out: it does not change what a verdict means.
        """
        meaning = [{"kind": check.kind, **msgspec.to_builtins(check)} for check in self.checks]
        for values in meaning:
            if values.pop("timeout", ""):
                values["timeout_seconds"] = 0  # ledgers hold verdicts under fingerprints that were made with it
        return hashlib.sha256(msgspec.json.encode(meaning, order="deterministic")).hexdigest()[:16]


class BuildRule(TaskRule, frozen=True, kw_only=True):
    """The ACR Task that builds the app; it gets the value BASE_IMAGE (by digest)."""

    image: Annotated[str, Meta(description="repository:tag that the task pushes; {run} is its run id")]
    output: Annotated[
        Literal["listed", "by-tag"],
        Meta(description="whose image it is: listed as an output of the run, or else by-tag (docker push, buildx)"),
    ] = "listed"

    @property
    def repository(self) -> str:
        """The repository part of `image`."""
        return self.image.rpartition(":")[0]

    def tag_of(self, run_id: str) -> str:
        """The tag that a run pushes."""
        return self.image.rpartition(":")[2].replace("{run}", run_id)

    def run_of(self, tag: str) -> str | None:
        """The run that a tag names, or None where the tag does not follow the pattern or names what can be no run.

        `dev` may be a run's id and is more likely a tag that moves: only the registry knows which runs there are.
        """
        before, marker, after = self.image.rpartition(":")[2].partition("{run}")
        fits = marker and tag.startswith(before) and tag.endswith(after)
        run_id = tag[len(before) : len(tag) - len(after)] if fits else ""
        return run_id if _RUN_ID.fullmatch(run_id) else None


class HealthRule(Rule, frozen=True, kw_only=True):
    """When a deployment is healthy."""

    path: Annotated[str, Meta(pattern=r"^/[^\s]*$", description="a path that answers 2xx or 3xx")] = "/"
    within: Duration = "60s"

    @property
    def within_seconds(self) -> int:
        """How long a new deployment has for it."""
        return seconds(self.within)


class DeployRule:
    """Where an app runs, and as what: each target has a rule of its own type, in `shared/domain/targets`.

    In gates.yaml it stands under its target, `aci: {…}`. To msgspec it is a custom type, which `parse_gates` converts:
    only that knows which targets there are.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """The key that the rule stands under in gates.yaml."""

    name: str
    """What people call the deployment; alarms are about it."""

    health: HealthRule

    @property
    def place(self) -> str:
        """What is deployed to, in words, for those who read why that fails."""
        return f"{self.kind} {self.name}"

    @property
    def occupies(self) -> Hashable:
        """What no two apps can have: rules that are equal in this deploy over each other."""
        return self.kind, self.name

    def completed(self, registry: RegistryRule) -> Self:
        """The rule with what follows from the registry that the app is built in."""
        return self

    def shown(self) -> Self:
        """The rule as it is answered and shown: without values that are nobody else's business."""
        return self


class BaseRule(Rule, frozen=True, kw_only=True):
    """The promoted image that an app is built on."""

    gate: Name
    tag: TagName


class App(NamedRule, frozen=True, kw_only=True):
    """Something that is built on a promoted image.

    Without `deploy` it is built and no more.
    """

    base: BaseRule
    build: BuildRule
    deploy: DeployRule | None = None
    drift: Drift = "repair"


class Policy(Rule, frozen=True, kw_only=True):
    """gates.yaml.

    It is all rules together, with the questions the workflows ask of them.
    """

    registries: Annotated[Mapping[Name, RegistryRule], Meta(min_length=1)]
    gates: Annotated[Mapping[Name, Gate], Meta(min_length=1)]
    apps: Mapping[Name, App] = {}

    def registry_by_id(self, registry_id: str) -> RegistryRule | None:
        """The configured registry with that ARM id, without regard to case."""
        wanted = registry_id.lower()
        return next((r for r in self.registries.values() if r.id and r.id.lower() == wanted), None)

    def registry_at(self, login_server: str) -> RegistryRule | None:
        """The configured registry of that host name, whatever the rules call it."""
        return next((rule for rule in self.registries.values() if rule.login_server == login_server), None)

    def registry_problem(self, name: str, use: str = "") -> str:
        """Why a registry cannot be used: it is unknown, or no Azure registry for a `use` that needs one; else ""."""
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
        """The apps that stand on one stable tag."""
        return (app for app in self.apps.values() if app.base.gate == gate and app.base.tag == tag)
