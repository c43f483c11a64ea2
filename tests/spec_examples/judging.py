"""What a response to an example is: as specified, refused by the sandbox, or invalid."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tests.contract.recorder import Exchange
from tests.contract.specs import Description, Specifications


class Verdict(StrEnum):
    """How a response compares with the specification."""

    FITS = "fits"
    REFUSED = "refused"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on one request, and what is wrong or what the sandbox says."""

    title: str
    exchange: Exchange
    verdict: Verdict
    reason: str = ""

    def line(self) -> str:
        """The line for the reader."""
        return f"{self.verdict:8} {self.title}: {self.exchange.name}\n    {self.reason}"


def judge(title: str, exchange: Exchange, description: Description, specifications: Specifications) -> Judged:
    """Judge a response.

    An error is a refusal if its text speaks of the sandbox, and if its body fits as well. Any other error is invalid,
    unless the operation describes its very status: Azure would do what the example asks.
    """
    faults = list(specifications.faults(exchange, description))
    if faults:
        return Judged(title, exchange, Verdict.INVALID, "; ".join(faults))
    if exchange.status < 400 or str(exchange.status) in description.operation["responses"]:
        return Judged(title, exchange, Verdict.FITS)
    said = _message(exchange.answered)
    verdict = Verdict.REFUSED if "sandbox" in said.lower() else Verdict.INVALID
    return Judged(title, exchange, verdict, said or "an error without a text")


def summary(judged: list[Judged]) -> str:
    """The last line."""
    count = {verdict: sum(one.verdict is verdict for one in judged) for verdict in Verdict}
    return f"{len(judged)} requests, {count[Verdict.INVALID]} invalid, {count[Verdict.REFUSED]} refused"


def _message(body: object) -> str:
    """The text of an error in the form of Azure Resource Manager or of a registry."""
    if not isinstance(body, dict):
        return ""
    errors = body.get("errors") or [body.get("error") or {}]
    return "; ".join(f"{error.get('code')}: {error.get('message')}" for error in errors)
