"""(3) Timer: the sweep."""

from __future__ import annotations

import logging
from datetime import timedelta

import azure.functions as func

from shared import bootstrap
from shared.settings import sweep_schedule

blueprint = func.Blueprint()
log = logging.getLogger(__name__)

TIME_LIMIT = timedelta(minutes=3)
"""How long a sweep begins new slices: its last one must end within `functionTimeout`. The next sweep goes on."""


@blueprint.function_name("drift-timer")
@blueprint.timer_trigger(arg_name="timer", schedule=sweep_schedule())
def drift_timer(timer: func.TimerRequest) -> None:
    """Find what no event told, and mend it."""
    app = bootstrap.basegate()
    report = app.sweep.run(app.services.clock.now() + TIME_LIMIT)
    for effect in report.effects:
        log.info("sweep: %s: %s", effect.what, effect.subject)
    unfinished = [f"{beat.beat} {beat.standing} {beat.problem}".rstrip() for beat in report.unfinished]
    log.info(
        "sweep: %d beats, %d effects; %s", len(report.beats), len(report.effects), "; ".join(unfinished) or "all done"
    )
