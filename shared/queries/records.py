"""The queries of the HTTP interface: the overview, lists by time, single records and their logs."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from shared.checks import check_kinds, check_type
from shared.checks.task import log_so_far
from shared.domain.candidate import Candidate, CandidateSummary, CheckRecord, Verdict
from shared.domain.errors import NotFound, Rejected
from shared.domain.exception import ExceptionGrant
from shared.domain.policy import App as AppRule
from shared.domain.policy import Gate as GateRule
from shared.domain.rollout import AppRecord, BuildRecord, Rollout, RolloutState, RolloutSummary
from shared.domain.stable_tag import Move, StableTag, Veto
from shared.domain.targets import deploy_type
from shared.findings.exceptions import end_warnings
from shared.ports import NO_FILTER, Item, Listed, ListFilter, Page, Services, read
from shared.promotion.vetoes import Vetoes
from shared.queries import models
from shared.queries.lookup import Lookup
from shared.queries.models import Items, detail_of

PAGE_LIMIT = 100

LOG_LIMIT_BYTES = 1024 * 1024
"""The maximum size of a returned log; a longer one is cut to its end, which has the result."""

Reader = Callable[[Any, int], str | None]
"""Reads the last bytes of the log of a run in progress; None if it writes no log."""


class Queries:
    """Reads the ledger. Raises `NotFound` for an unknown gate, app or record.

    A single record is returned with its ETag.
    """

    def __init__(self, services: Services) -> None:
        self._services, self._lookup = services, Lookup(services)
        self._vetoes = Vetoes(services)

    def status(self) -> models.Status:
        """All gates and apps in the overview."""
        return models.Status(gates=self.gates().items, apps=self.apps().items)

    def gates(self) -> Items[models.Gate]:
        """All gates in the overview."""
        return Items(items=tuple(map(self._gate, self._services.policy.gates.values())))

    def gate(self, name: str) -> models.GateDetail:
        """One gate: its rule, with only the names of values, its stable tags with their holds, its vetoes."""
        gate = self._lookup.gate(name)
        checks = tuple(check_type()(**{check.kind: check.shown()}) for check in gate.checks)
        vetoes = tuple(veto for veto in self._vetoes.all(gate) if veto.is_active)
        rule = models.GateRule(**asdict(gate) | {"checks": checks})
        return models.GateDetail(**asdict(self._gate(gate)), rule=rule, vetoes=vetoes)

    def apps(self) -> Items[models.App]:
        """All apps in the overview."""
        return Items(items=tuple(map(self._app, self._services.policy.apps.values())))

    def app(self, name: str) -> models.AppDetail:
        """One app: its rule, with only the names of values, its live image, and the base of that image."""
        app = self._lookup.app(name)
        deploy = app.deploy and deploy_type()(**{app.deploy.kind: app.deploy.shown()})
        build = replace(app.build, values=dict.fromkeys(app.build.values, ""))
        rule = asdict(app) | {"build": build, "deploy": deploy}
        return models.AppDetail(**asdict(self._app(app)), rule=models.AppRule(**rule))

    def candidates(
        self, gate_name: str, limit: int, token: str, only: ListFilter = NO_FILTER
    ) -> Page[CandidateSummary]:
        """The candidates of a gate, by the time of their creation, the newest first."""
        return self._page(Candidate, self._lookup.gate(gate_name).name, limit, token, only)

    def rollouts(self, app_name: str, limit: int, token: str, only: ListFilter = NO_FILTER) -> Page[RolloutSummary]:
        """The rollouts of an app, by the time of their creation, the newest first."""
        return self._page(Rollout, self._lookup.app(app_name).name, limit, token, only)

    def promotions(self, gate_name: str, limit: int, token: str, only: ListFilter = NO_FILTER) -> Page[Move]:
        """All moves of a gate's stable tags, including rollbacks, the newest first."""
        return self._page(StableTag, self._lookup.gate(gate_name).name, limit, token, only)

    def holds(self) -> Items[models.StandingHold]:
        """All active holds, the newest first."""
        items = (
            models.StandingHold(gate=held.gate, tag=held.tag, digest=held.digest, **asdict(held.hold))
            for gate in self._services.policy.gates.values()
            for held in self._stable_tags(gate)
            if held.hold
        )
        return Items(items=tuple(sorted(items, key=lambda hold: hold.at, reverse=True)))

    def vetoes(self, *, all: bool) -> Items[Veto]:
        """The active vetoes, with `all` also those that were lifted, the newest first."""
        gates = self._services.policy.gates.values()
        vetoes = {veto for gate in gates for veto in self._vetoes.all(gate) if veto.is_active or all}
        return Items(items=tuple(sorted(vetoes, key=lambda veto: veto.at, reverse=True)))

    def exceptions(self, *, all: bool) -> Items[models.StandingException]:
        """The exceptions that operators asked for, the newest first; with `all` also those that have ended."""
        items = [item for name in self._services.policy.gates for item in self.exceptions_at(name)]
        shown = (item for item in items if all or item.state != "ended")
        return Items(items=tuple(sorted(shown, key=lambda item: item.at, reverse=True)))

    def exceptions_at(self, gate: str) -> list[models.StandingException]:
        """The exceptions that operators asked for at a gate."""
        now = self._services.clock.now()
        grants = [stored.record for stored in self._services.ledger.list(ExceptionGrant, gate)]
        warnings = dict(end_warnings((one.rule for one in grants if one.is_granted), now))
        return [_exception_item(one, now, warnings.get(one.rule, "")) for one in grants]

    def candidate(self, identifier: str) -> tuple[models.CandidateDetail, str]:
        """A candidate: its checks with evidence, its history, and the promotions of its digest."""
        stored = self._lookup.candidate(identifier)
        found = self._lookup.promotions_for(stored.record)
        promotions = tuple(detail_of(models.PromotionDetail, promotion) for promotion in found)
        return detail_of(models.CandidateDetail, stored.record, promotions=promotions), stored.etag

    def rollout(self, identifier: str) -> tuple[models.RolloutDetail, str]:
        """A rollout: its build, its deployment and its history."""
        stored = self._lookup.rollout(identifier)
        return detail_of(models.RolloutDetail, stored.record), stored.etag

    def _page(
        self, kind: type[Listed[Item]], partition: str, limit: int, token: str = "", only: ListFilter = NO_FILTER
    ) -> Page[Item]:
        return self._services.ledger.page(kind, partition, min(limit, PAGE_LIMIT), token, only)

    def _stable_tags(self, gate: GateRule) -> Iterator[StableTag]:
        return (stored.record for stored in self._services.ledger.list(StableTag, gate.name))

    def _gate(self, gate: GateRule) -> models.Gate:
        stable = [one for one in self._stable_tags(gate) if one.digest or one.hold]
        return models.Gate(
            name=gate.name,
            source=source_of(gate, self._services),
            target=self._vetoes.target(gate),
            stable=msgspec.convert(stable, tuple[models.StableTagAnswer, ...], from_attributes=True),
            latest=next(iter(self._page(Candidate, gate.name, 1).items), None),
        )

    def _app(self, app: AppRule) -> models.App:
        record = read(self._services.ledger, AppRecord(app=app.name))
        return models.App(
            name=app.name,
            base_rule=app.base,
            live=str(record.live) if record.live else None,
            live_since=record.live_since,
            base=base_of(record),
            latest=next(iter(self._page(Rollout, app.name, 1).items), None),
        )


def source_of(gate: GateRule, services: Services) -> str:
    """The source repository of a gate, with its registry: `publicregistry.azurecr.io/node`."""
    return f"{services.registry_rule(gate.source.registry).login_server}/{gate.source.repository}"


def base_of(record: AppRecord) -> str | None:
    """The base of the live image of an app, `unknown` if it is not recorded; before one is live, the base of its first
    rollout."""
    base = record.live.base if record.live else record.base
    return str(base) if base else "unknown" if record.live else None


class LogSource(StrEnum):
    """The source of a log: stored as evidence, or read from a run in progress."""

    STORED = "stored"
    RUNNING = "running"


class RunLog(msgspec.Struct, frozen=True):
    """The end of a log, its source, and the run that wrote it: `task check, run ca1 of base.azurecr.io`."""

    text: str
    source: LogSource
    of: str


class RunLogs:
    """Reads logs. Raises `Malformed` for an invalid id, `NotFound` for an unknown one."""

    def __init__(self, services: Services) -> None:
        self._services, self._lookup = services, Lookup(services)

    def of_candidate(self, identifier: str) -> RunLog:
        """The log of the check that failed, else of the first one that is running, else of the last one that has ended.

        Raises:
            NotFound: there is none.
        """
        record = self._lookup.candidate(identifier).record
        kinds = {} if record.settled else check_kinds(self._services)
        failed = [one for one in record.checks if one.verdict is Verdict.FAILED]
        running = [one for one in record.checks if one.is_running]
        checks = (*failed, *running, *reversed(record.checks))
        readers = ((one, kinds[one.kind].log if one.kind in kinds else None) for one in checks)
        return self._first(((one, f"{one.kind} check", so_far) for one, so_far in readers), identifier)

    def of_rollout(self, identifier: str) -> RunLog:
        """The log of the build. Raises `NotFound` if there is none, as for an image that Basegate did not build."""
        record = self._lookup.rollout(identifier).record
        so_far = partial(log_so_far, self._services) if record.state is RolloutState.BUILDING else None
        return self._first([(record.build, "build", so_far)], identifier)

    def _first(self, runs: Iterable[tuple[CheckRecord | BuildRecord, str, Reader | None]], identifier: str) -> RunLog:
        """The log of the first run that has one. Each run comes with its name, and a reader if it may be running."""
        for run, what, so_far in runs:
            of, place = f"{what}, run {run.run_id} of {run.registry}", run.evidence.log_blob
            try:
                if place:
                    return RunLog(_end_of(self._services.archive.read(place)), LogSource.STORED, of)
                text = so_far(run, LOG_LIMIT_BYTES) if so_far and run.run_id else None
            except Rejected as error:
                gone = f"the log of {of}, stored as {place}, does not exist any more"
                raise NotFound(gone if place else f"{of} has written no log yet") from error
            if text is not None:
                return RunLog(_end_of(text), LogSource.RUNNING, of)
        raise NotFound(f"{identifier} has no log yet")


def _end_of(text: str) -> str:
    """The end of a text, at most `LOG_LIMIT_BYTES`."""
    return text.encode()[-LOG_LIMIT_BYTES:].decode(errors="ignore")


def _exception_item(grant: ExceptionGrant, now: datetime, warning: str) -> models.StandingException:
    rule = grant.rule
    return models.StandingException(
        gate=grant.gate,
        id=grant.id,
        state="ended" if rule.ends_at <= now else grant.state,
        vulnerability=rule.vulnerability,
        package=rule.package,
        justification=rule.justification,
        author=rule.author,
        until=rule.until,
        at=grant.at,
        granted_by=grant.granted_by,
        ended_by=grant.ended_by,
        warning=warning,
    )
