"""`basegate judge`: a scanner's report is judged with the code of the app. It needs no gate."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from basegate_cli import show

if TYPE_CHECKING:
    from shared.domain.policy import ExceptionRule, Gate
    from shared.findings.judge import JudgedFinding, Judgement
    from shared.findings.model import Report
    from shared.findings.rules import ScanRules

EXIT_CODES = {"passed": 0, "failed": 1, "unknown": 3}
"""By verdict; 2 is wrong usage."""

_SHOWN = 50
"""How many findings of each outcome are listed for people; `--json` has all."""

T = TypeVar("T")


class InvalidInput(Exception):
    """An option or a file beside the report cannot be used; the text says which and why."""


def judge(  # noqa: PLR0913  (the options of a command are its parameters)
    context: typer.Context,
    report: Annotated[str, typer.Argument(metavar="REPORT", help="What the scanner wrote; - is standard input.")],
    *,
    rules: Annotated[Path | None, typer.Option(help="The rules (gates.yaml), with --gate.")] = None,
    gate: Annotated[str, typer.Option(help="The gate whose scan and exceptions count.")] = "",
    fail_on: Annotated[
        list[str] | None, typer.Option(help="Instead of --rules: severity=high,fixable. Repeat it: any that matches.")
    ] = None,
    ignore_unfixed: Annotated[
        bool, typer.Option("--ignore-unfixed", help="With --fail-on: findings without a fix never fail.")
    ] = False,
    exceptions: Annotated[Path | None, typer.Option(help="Further exceptions, as in gates.yaml.")] = None,
    vex: Annotated[list[Path] | None, typer.Option(help="A VEX document. Repeat it for more.")] = None,
    baseline: Annotated[str, typer.Option(help="The report of the promoted image: only what it lacks fails.")] = "",
    format_name: Annotated[str, typer.Option("--format", help="The format of the reports, if not recognized.")] = "",
    now: Annotated[str, typer.Option(help="Judge as of this time: 2026-03-01T12:00Z.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole judgement as JSON.")] = False,
) -> None:
    """Judge a scanner's report as a gate would.

    Exit codes: 0 passed, 1 failed, 2 wrong usage, 3 unknown.
    """
    from msgspec import json
    from msgspec.structs import replace

    from shared.findings.exceptions import is_in_scope
    from shared.findings.judge import judge as judged
    from shared.findings.judge import keys_of
    from shared.findings.model import BrokenReport
    from shared.findings.vex import read_vex

    at = _moment(now)
    chosen, granted = _chosen(rules, gate, fail_on or [], ignore_unfixed=ignore_unfixed, new_only=bool(baseline))
    granted += _exceptions(exceptions)
    scoped = [exception for exception in granted if is_in_scope(exception, gate)]
    stated = {file: _read(file, read_vex) for file in vex or []}
    statements = chain.from_iterable(stated.values())
    try:
        known = keys_of(_report(baseline, format_name).findings) if baseline else None
        found = _report(report, format_name)
        judgement = judged(found, chosen, now=at, exceptions=scoped, vex=statements, baseline=known)
    except BrokenReport as error:
        judgement = _no_verdict(str(error))
    unused = _unused_warnings(len(granted) - len(scoped), [file for file, found in stated.items() if not found])
    judgement = replace(judgement, warnings=(*judgement.warnings, *unused))
    is_json = as_json or getattr(context.obj, "json", False)
    typer.echo(json.encode(judgement).decode() if is_json else "\n".join(_lines(judgement)))
    raise typer.Exit(EXIT_CODES[judgement.verdict])


# What is read.


def _chosen(
    file: Path | None, gate_name: str, conditions: Sequence[str], *, ignore_unfixed: bool, new_only: bool
) -> tuple[ScanRules, tuple[ExceptionRule, ...]]:
    """The rules of a gate's scan, or those of the options, and the exceptions beside them.

    Raises:
        InvalidInput: both or none are given, or they have errors.
    """
    from shared.domain.errors import Malformed
    from shared.findings.rules import ScanRules
    from shared.rules import parse_condition, parse_gates

    if (file is None) == (not conditions):
        raise InvalidInput("what fails? Give either --fail-on, or --rules with --gate")
    if file is None:
        try:
            parsed = tuple(map(parse_condition, conditions))
        except Malformed as error:
            raise InvalidInput(f"--fail-on {error}") from None
        return ScanRules(fail_on=parsed, ignore_unfixed=ignore_unfixed, new_only=new_only), ()
    policy = _read(file, lambda content: parse_gates(content.decode(), str(file)))
    if gate_name not in policy.gates:
        raise InvalidInput(f"--gate: {file} has no gate {gate_name!r} (known: {', '.join(policy.gates)})")
    scan = _scan_of(policy.gates[gate_name])
    if new_only and not scan.new_only:
        raise InvalidInput(f"--baseline: the scan of gate {gate_name} has no `new_only: true`")
    if ignore_unfixed:
        raise InvalidInput("--ignore-unfixed is for --fail-on: with --rules, the gate says it")
    return scan, policy.exceptions


def _scan_of(gate: Gate) -> ScanRules:
    """The rule of a gate's scan.

    Raises:
        InvalidInput: the gate has no scan.
    """
    from shared.findings.rules import ScanRules

    scan = next((check for check in gate.checks if isinstance(check, ScanRules)), None)
    if scan is None:
        raise InvalidInput(f"gate {gate.name} has no scan among its checks: give --fail-on instead of --rules")
    return scan


def _exceptions(file: Path | None) -> tuple[ExceptionRule, ...]:
    from shared.rules import parse_exceptions

    return _read(file, lambda content: parse_exceptions(content.decode(), str(file))) if file else ()


def _read(file: Path, parse: Callable[[bytes], T]) -> T:
    """The content of a file.

    Raises:
        InvalidInput: it cannot be read or parsed.
    """
    from shared.findings.vex import BrokenVex
    from shared.rules import InvalidGates

    try:
        return parse(file.read_bytes())
    except InvalidGates as error:
        raise InvalidInput(str(error)) from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{file} is not UTF-8 text") from None
    except (BrokenVex, OSError) as error:
        raise InvalidInput(f"{file}: {error}") from None


def _report(name: str, format_name: str) -> Report:
    """A report; `-` is standard input.

    Raises:
        BrokenReport: it is missing or broken.
        InvalidInput: there is no such format.
    """
    from shared.findings.formats import FORMATS
    from shared.findings.model import BrokenReport
    from shared.findings.read import read_report

    if format_name and format_name not in FORMATS:
        raise InvalidInput(f"--format: there is no format {format_name!r} (known: {', '.join(FORMATS)})")
    try:
        with nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb") as stream:
            return read_report(stream, format_name)
    except BrokenReport as error:
        raise BrokenReport(f"{name}: {error}") from None
    except OSError as error:
        raise BrokenReport(f"there is no report: {name}: {error.strerror}") from None


def _moment(text: str) -> datetime:
    """A time, by default the current one; without a zone it is in UTC."""
    from shared.findings.model import aware

    try:
        return aware(datetime.fromisoformat(text)) if text else datetime.now(UTC)
    except ValueError:
        raise InvalidInput(f"--now: {text!r} is no time: write it as 2026-03-01T12:00Z") from None


def _unused_warnings(left_out: int, files: Iterable[Path]) -> Iterator[str]:
    """What of the options has no effect: exceptions out of scope, VEX documents without a usable statement."""
    if left_out:
        yield f"exceptions for other gates (see --gate): {left_out}"
    for file in files:
        yield f"{file} has no VEX statement about a package by its purl, or an image by its digest"


def _no_verdict(reason: str) -> Judgement:
    from shared.domain.candidate import Verdict
    from shared.findings.judge import Judgement

    return Judgement(verdict=Verdict.UNKNOWN, reason=reason)


# What is printed for people.


def _lines(judgement: Judgement) -> Iterator[str]:
    """The judgement, line by line, without control characters: names come from the image."""
    yield _plain(f"{judgement.verdict}: {judgement.reason}")
    if judgement.counts:
        counted = ", ".join(f"{count} {severity}" for severity, count in judgement.counts.items())
        yield f"findings: {counted}"
    for title, found in _groups(judgement):
        yield f"{title}: {len(found)}"
        yield from (f"  {_plain(line)}" for line in map(_line, found[:_SHOWN]))
        if len(found) > _SHOWN:
            yield f"  and {len(found) - _SHOWN} more (--json has all)"
    for licence in judgement.licences[:_SHOWN]:
        yield _plain(f"denied licence: {licence.name} of {licence.package or licence.path or 'the image'}")
    for secret in judgement.secrets[:_SHOWN]:
        yield _plain(f"secret: {secret.rule} in {secret.path}")
    for warning in judgement.warnings:
        yield _plain(f"warning: {warning}")


def _groups(judgement: Judgement) -> Iterator[tuple[str, tuple[JudgedFinding, ...]]]:
    """The findings that match a condition, by what became of them."""
    from shared.findings.judge import Outcome

    titles = {
        Outcome.FAILS: "fail",
        Outcome.EXCEPTION: "covered by an exception",
        Outcome.VEX: "covered by VEX",
        Outcome.SUPPRESSED: "suppressed in the report",
        Outcome.NOT_NEW: "not new",
        Outcome.UNFIXED: "without a fix",
    }
    return ((title, found) for outcome, title in titles.items() if (found := judgement.with_outcome(outcome)))


def _line(judged: JudgedFinding) -> str:
    """One finding: `CVE-2021-3711 in openssl 1.1.1k-r0, critical, fixed in 1.1.1l-r0 (severity: high)`."""
    finding, package = judged.finding, judged.finding.package
    fix = f"fixed in {' or '.join(finding.fixed_in)}" if finding.fixable else "not fixed"
    parts: Iterable[str] = (
        f"{finding.vulnerability} in {package.name} {package.version}".strip(),
        finding.severity,
        fix,
    )
    return f"{', '.join(parts)} ({judged.covered_by or judged.condition})"


def _plain(text: str) -> str:
    return show.plain(text).plain.replace("\n", " ")
