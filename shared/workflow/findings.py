"""What the doctor says of one dependency, and what to do about it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from shared.domain.errors import BasegateError, Misconfigured, Retry

SKEW_WARNS_SECONDS = 60.0
SKEW_STOPS_SECONDS = 15 * 60.0
"""From here on pushes are refused that seem to lie in the future (`shared/workflow/admit.py`)."""

_SLOW_REMEDY = "a firewall that drops what the app sends looks so: check the network rules, then the service's health"
_AWAY_REMEDY = "it passes by itself; if it stays so, look at the service's health"
_REFUSED_REMEDY = "look at what the service says, and mend the rule or the resource that it names"
_SETTING_REMEDY = "mend what is named here"
_CLOCK_REMEDY = (
    "restart the app, so that it comes up on another host; on a machine of your own, switch its time service (NTP) on"
)
_LOST_REMEDY = (
    "read in the log why lost-steps cannot take them up, mend it, then clear that queue and run the records again"
)
SWEEP_WARNS_MINUTES = 60.0
_SWEEP_REMEDY = (
    "see that the function drift-timer is there and enabled, what it says in the log, and BASEGATE_SWEEP_SCHEDULE"
)
_UNTOLD_REMEDY = (
    "mend what is named here; the next outcome that is told clears this, and the record shows what was missed"
)


class Finding(msgspec.Struct, frozen=True):
    """One dependency.

    `state` is `ok`, `warning` (it works, but look), `misconfigured` (a person must mend it), `away` (it passes),
    `refused` or `slow`; `cause` one of `shared.domain.errors.Cause`, `clock`, `lost-steps`, `outcomes`, `sweep`, or "".
    """

    dependency: str
    state: str
    detail: str = ""
    cause: str = ""
    remedy: str = ""

    @property
    def stops(self) -> bool:
        """Whether the app cannot do its work for this."""
        return self.state not in ("ok", "warning")


def of_error(dependency: str, error: BasegateError) -> Finding:
    """The finding for a trial that failed."""
    match error:
        case Misconfigured():
            state, remedy = "misconfigured", _SETTING_REMEDY
        case Retry():
            state, remedy = "away", _AWAY_REMEDY
        case _:
            state, remedy = "refused", _REFUSED_REMEDY
    return Finding(dependency, state, error.problem, error.cause or "", error.remedy or remedy)


def of_silence(dependency: str, seconds: float) -> Finding:
    """The finding for a trial that had no answer in time."""
    return Finding(dependency, "slow", f"no answer within {seconds:.0f} s", "network", _SLOW_REMEDY)


def of_clocks(server_time: datetime | None, now: datetime) -> Finding:
    """How far the app's clock is from the storage service's.

    Claims, runs and pushes are told apart by their times, and those are of many clocks.
    """
    name = "clock"
    if server_time is None:
        return Finding(name, "ok", "the storage service says no time")
    ahead = (now - server_time).total_seconds()
    if abs(ahead) <= SKEW_WARNS_SECONDS:
        return Finding(name, "ok")
    said = f"the app's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the storage service's"
    if abs(ahead) <= SKEW_STOPS_SECONDS:
        return Finding(name, "warning", f"{said}; runs that it started may not be found again", "clock", _CLOCK_REMEDY)
    return Finding(
        name, "misconfigured", f"{said}; pushes are refused, or put in a wrong order", "clock", _CLOCK_REMEDY
    )


def of_lost_steps(queue: str, number: int) -> Finding:
    """Whether messages lie in the queue of those that were given up on."""
    if not number:
        return Finding("lost steps", "ok")
    said = f"{number} messages lie in {queue}: steps that crashed at every delivery"
    return Finding("lost steps", "warning", said, "lost-steps", _LOST_REMEDY)


def of_sweeps(last: datetime | None, now: datetime) -> Finding:
    """Whether the timer sweeps; `last` is when a round of any beat began that came to its end."""
    name = "sweep"
    if last is None:
        return Finding(name, "warning", "no sweep has come by yet", "sweep", _SWEEP_REMEDY)
    minutes = (now - last).total_seconds() / 60
    if minutes <= SWEEP_WARNS_MINUTES:
        return Finding(name, "ok")
    said = f"no sweep has come by for {minutes:.0f} minutes: what no event tells is not found"
    return Finding(name, "warning", said, "sweep", _SWEEP_REMEDY)


def of_untold(dependency: str, record: str, problem: str) -> Finding:
    """The finding for a last outcome that could not be told."""
    return Finding(
        dependency, "warning", f"the outcome of {record} was not told: {problem}", "outcomes", _UNTOLD_REMEDY
    )
