"""The errors of the gate, by what the caller should do.

BasegateError
+-- Malformed        invalid input, with the name of the field: acknowledge it, report it, never retry
+-- Misconfigured    an operator must change something: stop, say what
+-- Rejected         a definite refusal by a service: a result, not a fault
|   +-- Gone             what was to be used no longer exists
+-- Retry            a transient fault: try again after `delay_seconds`
|   +-- Inconclusive     a run or a copy ended without a result: start it again after `delay_seconds`
|   +-- Throttled        a registry asks for a pause: too many requests, no fault
|   +-- Unreachable      a host accepts no connections, for any request
|   +-- Busy             another worker has it: waiting is not failing
|       +-- Transitioning    an earlier deployment still goes on
+-- NotFound         an operator names something that does not exist
+-- Refused          what an operator asks for is impossible in the current state
+-- Stale            an operator acts on a view that has changed since
+-- Conflict         another worker saved the record first: drop this step, the other one continues
+-- NeedsRecreation  what is deployed cannot be updated in place
"""

from enum import StrEnum


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
    """

    remedy_prefix = "To fix it"

    def __init__(self, problem: str, *, cause: Cause | None = None, remedy: str = "") -> None:
        super().__init__(f"{problem}. {self.remedy_prefix}: {remedy}" if remedy else problem)
        self.problem, self.cause, self.remedy = problem, cause, remedy


class Malformed(BasegateError):
    """Invalid input; `field` is where it is."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field, self.problem = field, problem


class Misconfigured(BasegateError):
    """A role, a secret, a name or a rule is missing or wrong. Retrying does not help."""


class Rejected(BasegateError):
    """A service refused for good, e.g. the image no longer exists."""


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
    """A run or a copy ended without a result: a run without a verdict, a failed copy."""


class Throttled(Retry):
    """A registry limits the rate of requests; `delay_seconds` is the pause it asks for."""


class Unreachable(Retry):
    """A host accepts no connections: any other request to it would fail the same way."""


class Busy(Retry):
    """Another worker has it right now. Waiting for it does not count as a failure."""


class Transitioning(Busy):
    """An earlier change of the deployment is still in progress."""


class NotFound(BasegateError):
    """A gate, a candidate, a tag that an operator names does not exist."""


class Refused(BasegateError):
    """What an operator asks for is impossible in the current state."""


class Stale(BasegateError):
    """An operator acts on a view that has changed since."""


class Conflict(BasegateError):
    """Another worker has changed the record since it was loaded."""


class NeedsRecreation(BasegateError):
    """The deployment cannot be changed in place: it must be deleted and created again."""
