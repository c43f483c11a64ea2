"""What every kind of check fulfils: all that the rest of the app knows of a check, it asks its kind for."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import ClassVar, Generic, TypeVar

import msgspec

from shared.domain.candidate import Candidate, CheckRecord, Evidence, Verdict
from shared.domain.policy import CheckRule
from shared.ports import Services

R = TypeVar("R", bound=CheckRule)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found."""

    verdict: Verdict
    reason: str
    evidence: Evidence = Evidence()
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Started(msgspec.Struct, frozen=True):
    """A run that was begun: where (a login server, or "" where it is nobody's) and under which id."""

    registry: str
    run_id: str


class Marked(msgspec.Struct, frozen=True):
    """A run that carries a mark of Basegate's; `name` is what people call it, `ca4 of base-import-node`."""

    run: Started
    mark: str
    name: str


class CheckKind(ABC, Generic[R]):
    """One way to examine a candidate.

    `mark` names this run of this check of this attempt: a run that carries it belongs to it. A check that needs no
    run answers with its finding at once. Any method may raise `Retry` (a passing fault), `Misconfigured` or `Rejected`.
    """

    rule: ClassVar[type[CheckRule]]
    """The type of its rules: its key and its grammar in gates.yaml."""

    waits_for_person: ClassVar[bool] = False
    """Whether an operator gives the verdict, by approving or rejecting, however long that takes."""

    may_promote: ClassVar[bool] = False
    """Whether its runs may push the image that they examine under its stable tag: `by: task` in gates.yaml."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @abstractmethod
    def start(self, candidate: Candidate, rule: R, mark: str) -> Started | Finding:
        """Begin the check; returns its run, or what it found already."""

    def adopt(self, candidate: Candidate, rule: R, mark: str, since: datetime) -> Started | None:
        """The run that was begun at or after `since` and never recorded, or None: it is started again."""
        return None

    def poll(self, candidate: Candidate, check: CheckRecord, rule: R) -> Finding | None:
        """What the run found, or None while it goes on. One past its time is stopped, and has found nothing."""
        return None

    def cancel(self, check: CheckRecord) -> None:
        """Stop a run that nobody waits for any more."""
        return

    def log(self, check: CheckRecord, limit_bytes: int) -> str | None:
        """What a run that goes on has written, its last bytes; None where it is none that writes.

        Raises:
            NotThere: its log cannot be asked for any more. Rejected: it has written nothing yet.
        """
        return None

    def marked(self, rule: R, since: datetime) -> Iterator[Marked]:
        """The runs that were begun at or after `since`, those of others too: what nobody waits for is an orphan."""
        yield from ()

    def readiness(self, rule: R) -> Iterator[tuple[str, Callable[[], object]]]:
        """What `readyz` asks, by what it is about: each question returns, or raises what is wrong."""
        yield from ()

    def refusal(self, candidate: Candidate, rule: R, verdict: Verdict, actor: str) -> str:
        """Why the answer of a person does not count; "" where it does."""
        return ""

    @abstractmethod
    def dependency(self, rule: R) -> str:
        """What it asks, for those who read why it stalls."""
