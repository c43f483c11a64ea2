"""The interface of every kind of check: the rest of the app knows checks only by it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import ClassVar, Generic, TypeVar

import msgspec

from shared.attestation.statement import CheckFacts, evidence_of
from shared.attestation.statement import Evidence as StatedEvidence
from shared.domain.candidate import Candidate, CheckRecord, Evidence, Verdict
from shared.domain.errors import Rejected
from shared.domain.image import ImageRef
from shared.domain.policy import CheckRule
from shared.ports import Artifact, Services

R = TypeVar("R", bound=CheckRule)


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a check."""

    verdict: Verdict
    reason: str
    evidence: Evidence = Evidence()
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Started(msgspec.Struct, frozen=True):
    """A run that was started: its registry (a login server, "" if it is in none) and its id."""

    registry: str
    run_id: str


class Marked(msgspec.Struct, frozen=True):
    """A run with a mark of Basegate; `name` is for operators, `ca4 of base-import-node`."""

    run: Started
    mark: str
    name: str


class CheckKind(ABC, Generic[R]):
    """One way to examine a candidate. `mark` identifies the run of one check of one attempt.

    A check that needs no run returns its result immediately; one of the phase `READ` must, and may raise `Busy` while
    what it looks for may still come. Any method may raise `Retry` (a transient error), `Misconfigured` or `Rejected`.
    """

    rule: ClassVar[type[CheckRule]]
    """The type of its rule: its key and its schema in gates.yaml."""

    waits_for_person: ClassVar[bool] = False
    """Whether an operator gives the verdict, by approving or rejecting; there is no timeout."""

    may_promote: ClassVar[bool] = False
    """Whether its runs may push the image that they examine under its stable tag: `by: task` in gates.yaml."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @abstractmethod
    def start(self, candidate: Candidate, rule: R, mark: str) -> Started | CheckResult:
        """Start the check; returns its run, or its result."""

    def judge_again(self, candidate: Candidate, check: CheckRecord, rule: R) -> CheckResult | None:
        """The result under changed rules of a check whose report was kept; None if it must run (again)."""
        return None

    def adopt(self, candidate: Candidate, rule: R, mark: str, since: datetime) -> Started | None:
        """The run that was started at or after `since` and not recorded; None: a new one is started."""
        return None

    def poll(self, candidate: Candidate, check: CheckRecord, rule: R) -> CheckResult | None:
        """The result of the run, None while it is running. One past its timeout is canceled, its verdict unknown."""
        return None

    def cancel(self, check: CheckRecord) -> None:
        """Cancel a run whose result is not needed any more."""
        return

    def log(self, check: CheckRecord, limit_bytes: int) -> str | None:
        """The last bytes of the log of a running check; None if it writes no log.

        Raises:
            NotFound: its log cannot be read any more. Rejected: it has written nothing yet.
        """
        return None

    def marked(self, rule: R, since: datetime) -> Iterator[Marked]:
        """All runs that were started at or after `since`: those that no check waits for are orphans."""
        yield from ()

    def readiness(self, rule: R) -> Iterator[tuple[str, Callable[[], object]]]:
        """The health checks of `readyz` with the names of their dependencies: each returns, or raises the error."""
        yield from ()

    def rejection(self, candidate: Candidate, rule: R, verdict: Verdict, actor: str) -> str:
        """Why the verdict of this person is refused; "" if it is accepted."""
        return ""

    def documents(self, check: CheckRecord, image: ImageRef) -> Mapping[str, Artifact]:
        """What is attached to the promoted image beside the decision record: by name, of those in `DOCUMENT_TYPES`.

        They depend on the record of the check and its evidence alone, so that they can be made again. There are none
        if the archive has lost the evidence.
        """
        return {}

    def facts(self, check: CheckRecord, image: ImageRef) -> CheckFacts:
        """What a decision record says of a check with a verdict: its evidence by hash, and what only this kind knows.

        Evidence that the archive has lost is named without its hash. `documents` are evidence, too.
        """
        place = check.evidence.log_blob
        if not place:
            return CheckFacts()
        try:
            return CheckFacts(evidence=(evidence_of("log", place, self._services.archive.read(place).encode()),))
        except Rejected:
            return CheckFacts(evidence=(StatedEvidence(name="log", uri=place),))

    @abstractmethod
    def dependency(self, rule: R) -> str:
        """The name of its dependency, for stalls."""
