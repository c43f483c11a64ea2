"""Exceptions: an operator asks for one, an approver grants it, and either ends it."""

from collections import deque
from contextlib import suppress

import msgspec
from msgspec.structs import replace

from shared.checks.approval import is_same_person
from shared.checks.scan import ScanCheck
from shared.domain.errors import BasegateError, Malformed, NotFound, Refused
from shared.domain.exception import ExceptionGrant, StoredException, exception_id
from shared.domain.policy import ExceptionRule, Gate
from shared.domain.sweep import SweepRecord
from shared.findings.exceptions import end_warning, in_words, is_active, problems
from shared.operations import Plan, Who
from shared.ports import Services, Stored
from shared.queries.lookup import Lookup
from shared.reconcile.begin import Done, Effect
from shared.sweep.job import JobRun
from shared.sweep.jobs.released import ReleasedJob


class ExceptionOperations:
    """The operations on exceptions."""

    def __init__(self, services: Services) -> None:
        self._services, self._lookup = services, Lookup(services)

    def ask(self, gate_name: str, vulnerability: str, until: str, package: str, who: Who) -> Plan:
        """Ask for an exception at a gate; it counts once it is granted.

        Raises:
            Malformed: a field is invalid, or the end is past or more than a year away.
            Refused: the gate scans nothing, or the same was asked for already.
        """
        gate, now = self._lookup.gate(gate_name), self._services.clock.now()
        if not any(isinstance(rule, ScanCheck) for rule in gate.checks):
            raise Refused(f"gate {gate.name} has no scan: there is nothing to except")
        exception = _exception(gate, vulnerability, until, package, who)
        if not is_active(exception, now):
            raise Malformed("until", end_warning(exception, now))
        name = self._new_id(gate, exception)
        asked = ExceptionGrant(gate=gate.name, id=name, exception=StoredException.of(exception), at=now)
        about = f"{exception.vulnerability} in {exception.package or 'any package'} until {exception.until}, as {name}"
        effects = (Effect("ask for an exception", about),)
        return Plan(effects, lambda: self._ask(asked))

    def grant(self, gate_name: str, name: str, who: Who) -> Plan:
        """Grant an exception that was asked for: what it lets pass is promoted.

        Raises:
            NotFound: there is no such request. Refused: it is granted or ended, or another person must grant it.
        """
        gate, stored = self._named(gate_name, name)
        record, now = stored.record, self._services.clock.now()
        if record.state != "requested":
            raise Refused(f"{in_words(record.rule)} is {record.state} already")
        if not is_active(record.rule, now):
            raise Refused(end_warning(record.rule, now))
        if _needs_two(gate) and is_same_person(record.exception.author, who.actor):
            raise Refused(f"{who.actor} asked for it: gate {gate.name} requires another person to grant it")
        effects = (Effect("grant", in_words(record.rule)), Effect("judge again", f"what gate {gate.name} refused"))
        return Plan(effects, lambda: self._grant(gate, stored, record.granted(now, who.actor, str(who))))

    def end(self, gate_name: str, name: str, who: Who) -> Plan:
        """End an exception, or refuse the request for one. What was promoted stays promoted.

        Raises:
            NotFound: there is no such exception. Refused: it has ended already.
        """
        _, stored = self._named(gate_name, name)
        if stored.record.ended_at is not None:
            raise Refused(f"{in_words(stored.record.rule)} was ended already, by {stored.record.ended_by}")
        ended = replace(stored.record, ended_at=self._services.clock.now(), ended_by=str(who))
        return Plan((Effect("end", in_words(stored.record.rule)),), lambda: self._save(stored, ended))

    def _new_id(self, gate: Gate, exception: ExceptionRule) -> str:
        """The id of the next request like this. Raises `Refused` if one was made already and has not been ended."""
        name = exception_id(exception)
        while (stored := self._services.ledger.load(ExceptionGrant, gate.name, name)) is not None:
            if stored.record.ended_at is None:
                raise Refused(f"{in_words(stored.record.rule)} is {stored.record.state} already, as {name}")
            name = exception_id(exception, name)
        return name

    def _named(self, gate_name: str, name: str) -> tuple[Gate, Stored[ExceptionGrant]]:
        gate = self._lookup.gate(gate_name)
        stored = self._services.ledger.load(ExceptionGrant, gate.name, name)
        if stored is None:
            raise NotFound(f"gate {gate.name} has no exception {name}: `basegate exceptions` lists them")
        return gate, stored

    def _grant(self, gate: Gate, stored: Stored[ExceptionGrant], granted: ExceptionGrant) -> Done:
        """Save it, and judge at once what the sweep would judge within minutes."""
        done = self._save(stored, granted)
        job = ReleasedJob(self._services, gate)
        with suppress(BasegateError):  # it is granted: the sweep judges what cannot be read now
            deque(job.batches(JobRun(SweepRecord(job=job.name))), maxlen=0)
        return done

    def _ask(self, record: ExceptionGrant) -> Done:
        """Raises `Refused` if someone else has just asked for the same."""
        if self._services.ledger.insert(record) is None:
            raise Refused(f"someone else has just asked for {in_words(record.rule)}")
        return Done("exceptions")

    def _save(self, stored: Stored[ExceptionGrant], record: ExceptionGrant) -> Done:
        self._services.ledger.save(stored, record)
        return Done("exceptions")


def _exception(gate: Gate, vulnerability: str, until: str, package: str, who: Who) -> ExceptionRule:
    """Raises `Malformed` if a field is invalid."""
    written = {
        "vulnerability": vulnerability,
        "until": until,
        "package": package,
        "gates": [gate.name],
        "justification": who.reason,
        "author": who.actor,
    }
    for field in msgspec.structs.fields(ExceptionRule):
        try:
            msgspec.convert(written[field.name], field.type)
        except msgspec.ValidationError as error:
            metas = getattr(field.type, "__metadata__", ())
            needed = next((f"is not {meta.description}" for meta in metas if meta.description), str(error))
            raise Malformed(field.name, f"{str(written[field.name])[:80]!r} {needed}") from None
    exception = msgspec.convert(written, ExceptionRule)
    for _, key, problem in problems([exception]):
        raise Malformed(key, problem)
    return exception


def _needs_two(gate: Gate) -> bool:
    return any(isinstance(rule, ScanCheck) and rule.two_persons for rule in gate.checks)
