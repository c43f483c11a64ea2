"""(3) Timer: the sweep."""

import logging
from datetime import timedelta

import azure.functions as func

from shared import bootstrap
from shared.settings import sweep_schedule

blueprint = func.Blueprint()
log = logging.getLogger(__name__)

TIME_LIMIT = timedelta(minutes=3)
"""How long a sweep begins new batches: the last one must end within `functionTimeout`. The next sweep continues."""


@blueprint.function_name("drift-timer")
@blueprint.timer_trigger(arg_name="timer", schedule=sweep_schedule())
def drift_timer(timer: func.TimerRequest) -> None:
    """Find and repair drift that no event reported."""
    app = bootstrap.basegate()
    result = app.sweep.run(app.services.clock.now() + TIME_LIMIT)
    unfinished = [f"{job.job} {job.state} {job.problem}".rstrip() for job in result.unfinished]
    level = logging.INFO if unfinished else logging.DEBUG  # effects are logged when they happen
    log.log(level, "sweep of %d jobs: %s", len(result.jobs), "; ".join(unfinished) or "done")
