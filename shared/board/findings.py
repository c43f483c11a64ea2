"""The findings of a candidate's page: what its scan found, the exceptions about that, and their buttons."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from shared.board import buttons
from shared.board.buttons import Action
from shared.board.parts import Item, Severity
from shared.checks.scan import ScanCheck
from shared.domain.candidate import Candidate, CandidateState
from shared.domain.errors import BasegateError
from shared.domain.policy import Gate
from shared.ports import Services
from shared.queries.findings import FindingItem, Findings, ScanFindings
from shared.queries.models import StandingException
from shared.queries.records import Queries

_ROWS = 100


class FindingRow(msgspec.Struct, frozen=True, kw_only=True):
    """A finding, whether an exception was asked for that would cover it, and its buttons."""

    item: FindingItem
    is_requested: bool
    actions: tuple[Action, ...]


class FindingsSection(msgspec.Struct, frozen=True, kw_only=True):
    """The findings of a scan, at most 100 as rows, and the exceptions about these that operators asked for.

    `problem` says why they cannot be read now.
    """

    found: Findings | None = None
    rows: tuple[FindingRow, ...] = ()
    exceptions: tuple[Item, ...] = ()
    problem: str = ""


def findings_section(services: Services, record: Candidate, now: datetime) -> FindingsSection | None:
    """The findings of a candidate, None without a report.

    The rest of its page does not depend on them: an error is shown in their place.
    """
    try:
        found = ScanFindings(services).of_record(record, _ROWS)
        asked = {one.id: one for one in Queries(services).exceptions_at(record.gate)} if found else {}
    except BasegateError as error:
        return FindingsSection(problem=f"The findings cannot be read now: {error}")
    if found is None:
        return None
    about = dict.fromkeys(name for item in found.items for name in item.exceptions if name in asked)
    return FindingsSection(
        found=found,
        rows=tuple(_row(record, item, asked, now) for item in found.items),
        exceptions=tuple(_exception_item(asked[name]) for name in about),
    )


def requested_exceptions(services: Services, gate: Gate) -> Iterator[Item]:
    """The exceptions that wait for an approver; a gate without a scan has none, and takes no query."""
    if any(isinstance(rule, ScanCheck) for rule in gate.checks):
        requested = (one for one in Queries(services).exceptions_at(gate.name) if one.state == "requested")
        yield from map(_exception_item, requested)


def _exception_item(one: StandingException) -> Item:
    """An exception that was requested or granted, with what can be done about it."""
    subject = f"{one.gate}: {one.vulnerability} in {one.package or 'any package'} until {one.until}"
    is_requested = one.state == "requested"
    advice = "It counts once it is granted: grant it, or deny it." if is_requested else one.warning
    return Item(
        subject=subject,
        state=f"exception {one.state}",
        severity=Severity.WAITING if is_requested else Severity.GOOD,
        since=one.at,
        reason="; ".join(filter(None, (f"{one.author}: {one.justification}", one.granted_by))),
        advice=advice,
        link=f"gates/{one.gate}",
        actions=buttons.of_exception(one, subject),
    )


def _row(record: Candidate, item: FindingItem, asked: dict[str, StandingException], now: datetime) -> FindingRow:
    """A finding; one that fails an image, or puts it at risk, can be accepted, unless that was asked for already."""
    known = (asked[name] for name in item.exceptions if name in asked)
    is_requested = any(one.state == "requested" for one in known)
    is_blocking = record.state in (CandidateState.FAILED, CandidateState.PASSED) and item.outcome == "fails"
    actions = (buttons.accept(record.gate, item, now),) if is_blocking and not is_requested else ()
    return FindingRow(item=item, is_requested=is_requested, actions=actions)
