"""The errors of the gate: a class for each thing that the caller should do, its text is for the reader."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

EVIDENCE = "evidence (blobs)"
"""The archive as a dependency."""


class Cause(StrEnum):
    """What prevents a step, where that is known: each cause has its own remedy."""

    IDENTITY = "identity"
    ROLE = "role"
    NETWORK = "network"
    TASKS_NOT_ALLOWED = "tasks-not-allowed"
    TASK = "task"
    SECRET = "secret"  # noqa: S105 (a word, no secret)


class BasegateError(Exception):
    """An error with a sentence for the reader: what happened, to what, and what to do.

    Args:
        problem: what happened, to what.
        cause: what prevents the step, where that is known.
        remedy: what to do, where `problem` does not say it.

    `dependency` is what failed, where it is not what the step mainly needs ("" elsewhere).
    """

    remedy_prefix = "To fix it"
    dependency = ""

    def __init__(self, problem: str, *, cause: Cause | None = None, remedy: str = "") -> None:
        super().__init__(f"{problem}. {self.remedy_prefix}: {remedy}" if remedy else problem)
        self.problem, self.cause, self.remedy = problem, cause, remedy


@contextmanager
def needing(dependency: str) -> Iterator[None]:
    """Names what failed in the errors of a block."""
    try:
        yield
    except BasegateError as error:
        error.dependency = dependency
        raise


class Malformed(BasegateError):
    """Invalid input; `field` is where it is. It is acknowledged and reported, never retried."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field, self.problem = field, problem


class Misconfigured(BasegateError):
    """An operator must change something: a role, a secret, a name or a rule. Retrying does not help."""


class Rejected(BasegateError):
    """A service refused for good, e.g. the image no longer exists: a result, not a fault."""


class Gone(Rejected):
    """What was to be used no longer exists."""


class Retry(BasegateError):
    """A transient fault; try again after `delay_seconds`."""

    remedy_prefix = "If it persists"

    def __init__(
        self, problem: str, delay_seconds: float = 5.0, *, cause: Cause | None = None, remedy: str = ""
    ) -> None:
        super().__init__(problem, cause=cause, remedy=remedy)
        self.delay_seconds = delay_seconds


class Inconclusive(Retry):
    """A run ended without a verdict, or a copy failed: start it again after `delay_seconds`."""


class Throttled(Retry):
    """A registry limits the rate of requests, which is no fault; `delay_seconds` is the pause it asks for."""


class Unreachable(Retry):
    """A host accepts no connections: any other request to it would fail the same way."""


class Busy(Retry):
    """Another worker has it right now, or what is looked for may still come. Waiting does not count as a failure."""


class Transitioning(Busy):
    """An earlier change of the deployment is still in progress."""


class NotFound(BasegateError):
    """A gate, a candidate, a tag that an operator names does not exist."""


class Refused(BasegateError):
    """What an operator asks for is impossible in the current state."""


class Stale(BasegateError):
    """An operator acts on a view that has changed since."""


class Conflict(BasegateError):
    """Another worker has changed the record since it was loaded: drop this step, the other one continues."""


class NeedsRecreation(BasegateError):
    """The deployment cannot be changed in place: it must be deleted and created again."""
