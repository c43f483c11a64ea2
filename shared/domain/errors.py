"""The errors of the gate, by what the caller should do.

BasegateError
+-- Malformed        the input names a field that is wrong: acknowledge it, say so, never retry
+-- Misconfigured    a person must change something: stop, say what
+-- Rejected         a definite no from a check or a service: a verdict, not a fault
|   +-- Gone             what was to be used is not there any more
+-- Retry            a passing fault: look again after `delay_seconds`
|   +-- Inconclusive     a run or a copy ended without a result: begin it again after `delay_seconds`
|   +-- Throttled        a registry asks for a pause: nothing is wrong, only too much
|   +-- Unreachable      a host takes no connections, whatever it is asked for
|   +-- Busy             someone else is at it: waiting is not failing
|       +-- Transitioning    the container group is still changing
+-- Conflict         someone else saved the record first: drop this look, theirs goes on
+-- NeedsRecreation  the container group cannot be updated in place
"""

from enum import StrEnum


class Cause(StrEnum):
    """What stands in the way, where that is known: each cause has a remedy of its own."""

    IDENTITY = "identity"
    ROLE = "role"
    NETWORK = "network"
    TASKS_NOT_ALLOWED = "tasks-not-allowed"
    TASK = "task"
    SECRET = "secret"  # noqa: S105 (a word, no secret)


class BasegateError(Exception):
    """An error with a sentence for the reader: what happened, to what, and what to do now.

    Args:
        problem: what happened, to what.
        cause: what stands in the way, where that is known.
        remedy: what to do now, where `problem` does not say it.
    """

    remedy_prefix = "To fix it"

    def __init__(self, problem: str, *, cause: Cause | None = None, remedy: str = "") -> None:
        super().__init__(f"{problem}. {self.remedy_prefix}: {remedy}" if remedy else problem)
        self.problem, self.cause, self.remedy = problem, cause, remedy


class Malformed(BasegateError):
    """Input that cannot be understood; `field` is the place."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field, self.problem = field, problem


class Misconfigured(BasegateError):
    """A role, a secret, a name or a rule is missing or wrong. Trying again changes nothing."""


class Rejected(BasegateError):
    """A service refused for good, e.g. the image does not exist any more."""


class Gone(Rejected):
    """What was to be used is not there any more."""


class Retry(BasegateError):
    """A fault that passes by itself; look again after `delay_seconds`."""

    remedy_prefix = "If it persists"

    def __init__(
        self, problem: str, delay_seconds: float = 5.0, *, cause: Cause | None = None, remedy: str = ""
    ) -> None:
        super().__init__(problem, cause=cause, remedy=remedy)
        self.delay_seconds = delay_seconds


class Inconclusive(Retry):
    """What was begun has ended without a result: an examination that says nothing about the image, a failed copy."""


class Throttled(Retry):
    """A registry limits the rate of requests; `delay_seconds` is the pause it asks for."""


class Unreachable(Retry):
    """A host takes no connections: every other request to it would end the same way."""


class Busy(Retry):
    """Someone else has the thing right now. Such a wait does not count as a failure."""


class Transitioning(Busy):
    """The container group is still transitioning from an earlier change."""


class NotFound(BasegateError):
    """A gate, a candidate, a tag that an operator names does not exist."""


class Refused(BasegateError):
    """What an operator asks for is not possible as things stand."""


class Stale(BasegateError):
    """An operator acts on a view that has changed since."""


class Conflict(BasegateError):
    """The record was changed by someone else since it was loaded."""


class NeedsRecreation(BasegateError):
    """The change touches what a container group cannot change in place: it must be deleted and created."""
