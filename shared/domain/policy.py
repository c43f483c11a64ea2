"""The rules a person wrote: gates, apps and the registries they speak of. Frozen, complete, without I/O."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

from shared.domain.tag_rule import TagRule

_RUN_ID = re.compile(r"(?!latest$)[a-z]{2}[0-9a-z]{1,4}")
"""Two letters and a counter in base 36: ca4, cab, cf2a. Azure publishes no grammar; `latest` would be past 10^6."""


class RegistryRule(msgspec.Struct, frozen=True, kw_only=True):
    """A registry under the short name that the rules use.

    `id` is its ARM id ("" for one that is no Azure registry); `credentials` is the stem of its Key Vault
    secrets `<stem>-user` and `<stem>-password` ("" where the app's own identity, or nobody's, is enough).
    A `private` one may be at a private network address. The sweep leaves a repository alone for `watch_seconds`
    between two looks (0: every sweep looks); all workers together send at most `pace` requests a minute (0: no limit).
    """

    name: str
    login_server: str
    id: str = ""
    credentials: str = ""
    private: bool = False
    watch_seconds: int = 0
    pace: int = 0

    @property
    def is_azure(self) -> bool:
        """Whether it is an Azure Container Registry: with events, tasks and importImage into it."""
        return bool(self.id)


class VersionRule(msgspec.Struct, frozen=True, kw_only=True):
    """Which versions among the tags that match a pattern; `domain/tag_rule.py` reads it.

    `range` is text such as `>=20 <21` ("": all); `newest` is how many tags of each pattern (0: all).
    """

    range: str = ""
    newest: int = 0
    prereleases: bool = False


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a gate's images come from; `tags` are names or glob patterns."""

    registry: str
    repository: str
    tags: tuple[str, ...]
    versions: VersionRule | None = None


class TaskCheck(msgspec.Struct, frozen=True, kw_only=True, tag="task", tag_field="kind"):
    """A check that an ACR Task makes: it gets the candidate as the value `IMAGE`, its exit code decides."""

    registry: str
    task: str
    timeout_seconds: int = 1800
    values: Mapping[str, str] = {}


class ApprovalCheck(msgspec.Struct, frozen=True, kw_only=True, tag="approval", tag_field="kind"):
    """A check that a person makes. With `two_persons`, whoever asked for the run may not be the one who approves."""

    two_persons: bool = False


Check = TaskCheck | ApprovalCheck
"""Every kind of check a gate may ask for; a further kind is one more struct here and one file in `shared/checks`."""


class PromoteBy(StrEnum):
    """Who copies a passed digest: Basegate, or the gate's own task (the article's way)."""

    COPY = "copy"
    TASK = "task"


class PromotionRule(msgspec.Struct, frozen=True, kw_only=True):
    """Where a passed digest goes. `unique` is a pattern of `{tag}` and `{run}`."""

    registry: str
    repository: str
    unique: str = "{tag}-{run}"
    lock: bool = True
    by: PromoteBy = PromoteBy.COPY

    def unique_tag(self, tag: str, run: str) -> str:
        """The unique tag of a promotion that a run stands for."""
        return self.unique.replace("{tag}", tag).replace("{run}", run)


class Drift(StrEnum):
    """What the sweep does about a difference that no event told of."""

    REPORT = "report"
    REPAIR = "repair"


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """The rule for one family of upstream images.

    `silent_after_seconds` without a change of any tracked tag upstream are a reason to alarm (0: never).
    """

    name: str
    source: Source
    checks: tuple[Check, ...]
    promote: PromotionRule
    drift: Drift = Drift.REPAIR
    silent_after_seconds: int = 0

    def takes(self, tag: str | None) -> bool:
        """Whether a tag of the source is this gate's business, by its name and its version.

        A tag alone cannot tell whether it is one of the `newest`: a push event is not held to that, the sweep is.
        """
        return tag is not None and TagRule.of(self.source).takes(tag)

    @property
    def fingerprint(self) -> str:
        """Names these checks: a verdict counts only under the checks it was reached with.

        How long a check may take is left out: it does not change what a verdict means.
        """
        meaning = [msgspec.structs.replace(one, timeout_seconds=0) if isinstance(one, TaskCheck) else one
                   for one in self.checks]  # fmt: skip
        return hashlib.sha256(msgspec.json.encode(meaning, order="deterministic")).hexdigest()[:16]


class BuildRule(msgspec.Struct, frozen=True, kw_only=True):
    """The ACR Task that builds an app; `image` is a pattern of `{run}`, e.g. `hello-world:{run}`.

    `by_tag`: where the service lists no output of a run, what the run's tag is counts as its image.
    """

    registry: str
    task: str
    image: str
    by_tag: bool = False
    timeout_seconds: int = 1800
    values: Mapping[str, str] = {}

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


class HealthRule(msgspec.Struct, frozen=True, kw_only=True):
    """When a deployment counts as healthy: it answers `path` with 2xx or 3xx within `within_seconds`."""

    path: str = "/"
    within_seconds: int = 60


class DeployRule(msgspec.Struct, frozen=True, kw_only=True):
    """The whole definition of a container group: what is not sent is reset by Azure.

    `cpu` in cores, `memory_gb` in GB; `identity` is the id of a user-assigned identity that may pull, else the
    registry's Key Vault credentials are used.
    """

    container_group: str
    resource_group: str
    subscription: str
    location: str = "eastus"
    port: int = 80
    cpu: float = 1.0
    memory_gb: float = 1.0
    environment: Mapping[str, str] = {}
    dns_label: str = ""
    identity: str = ""
    restart_policy: str = "Always"
    health: HealthRule = HealthRule()


class BaseRule(msgspec.Struct, frozen=True, kw_only=True):
    """The promoted image an app stands on."""

    gate: str
    tag: str


class App(msgspec.Struct, frozen=True, kw_only=True):
    """Something that stands on a promoted image. Without `deploy` it is built and no more."""

    name: str
    base: BaseRule
    build: BuildRule
    deploy: DeployRule | None = None
    drift: Drift = Drift.REPAIR


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """All rules together, with the questions the workflows ask of them."""

    registries: Mapping[str, RegistryRule]
    gates: Mapping[str, Gate]
    apps: Mapping[str, App]

    def registry_by_id(self, registry_id: str) -> RegistryRule | None:
        """The configured registry with that ARM id, without regard to case."""
        wanted = registry_id.lower()
        return next((r for r in self.registries.values() if r.id and r.id.lower() == wanted), None)

    def registry_at(self, login_server: str) -> RegistryRule | None:
        """The configured registry of that host name, whatever the rules call it."""
        return next((rule for rule in self.registries.values() if rule.login_server == login_server), None)

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
