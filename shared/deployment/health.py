"""The health of a deployment: the one place that reads it, probes it, and decides what is wrong with it."""

from enum import StrEnum
from typing import NamedTuple

from shared.domain.policy import DeployRule
from shared.domain.rollout import BuiltImage
from shared.ports import DeploymentState, Services

RESTART_LIMIT = 3
"""How many restarts of a container count as a loop."""


class Condition(StrEnum):
    """What a deployment is, compared with the image that it should run."""

    HEALTHY = "healthy"
    GONE = "gone"
    OTHER_IMAGE = "other image"
    STOPPED = "stopped"
    FAILED = "failed"
    RESTARTING = "restarting in a loop"
    NOT_RUNNING = "not running"
    UNHEALTHY = "unhealthy"

    @property
    def is_transient(self) -> bool:
        """Whether it may pass by itself: a container that is starting, or busy."""
        return self in (Condition.NOT_RUNNING, Condition.UNHEALTHY)

    @property
    def is_lasting(self) -> bool:
        """Whether it never passes by itself."""
        return self in (Condition.GONE, Condition.FAILED, Condition.RESTARTING)


class Health(NamedTuple):
    """The condition of a deployment, the problem in words ("": healthy), and its state (None: it is gone)."""

    condition: Condition
    problem: str = ""
    state: DeploymentState | None = None


def health_of(services: Services, rule: DeployRule, image: BuiltImage) -> Health:
    """Read the deployment, and probe its container if it runs the image.

    Raises:
        BasegateError: the deployment target does not answer.
    """
    state = services.target(rule).get(rule)
    if state is None:
        return Health(Condition.GONE, "it is gone")
    condition, problem = _condition(state, image)
    if condition is Condition.HEALTHY and (unhealthy := services.probe.check(state.address, rule.health.path)):
        condition, problem = Condition.UNHEALTHY, unhealthy
    return Health(condition, problem, state)


def _condition(state: DeploymentState, image: BuiltImage) -> tuple[Condition, str]:
    """Without the probe. An image is compared first: of another one nothing else counts."""
    detail = f": {state.detail}" if state.detail else ""
    if state.image != image.reference:
        return Condition.OTHER_IMAGE, f"it shows {state.image or 'nothing'}"
    if state.stopped:
        return Condition.STOPPED, "it was stopped"
    if state.failed:
        return Condition.FAILED, f"it has failed{detail}"
    if state.restarts >= RESTART_LIMIT:
        return Condition.RESTARTING, f"it restarts in a loop, {state.restarts} times so far{detail}"
    if not state.running or not state.address:
        return Condition.NOT_RUNNING, f"it does not run{detail}"
    return Condition.HEALTHY, ""
