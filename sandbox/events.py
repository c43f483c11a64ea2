"""Controls the event delivery of a running instance, for the command line and for tests.

    from sandbox.events import OFF, ON, FaultSettings, event_counts, switch_events

    switch_events(instance, OFF)  # every endpoint counts as a stopped app: events are dropped, and never sent later
    switch_events(instance, FaultSettings(drop=0.3, duplicate=0.3, shuffle_seconds=5, seed=7))
    switch_events(instance, ON)

A restart of the sandbox turns delivery on.
"""

from __future__ import annotations

import argparse

from sandbox.eventgrid.faults import Counts, FaultSettings
from sandbox.instance import Instance
from sandbox.lifecycle import SandboxError, control, running_pid

ON, OFF = FaultSettings(), FaultSettings(off=True)

_SHUFFLE_SECONDS = 5.0


class EventCounts(Counts, kw_only=True):
    """The number of events since the start, by their fate; `waiting` ones will be tried later."""

    waiting: int


def switch_events(instance: Instance, settings: FaultSettings) -> None:
    """Set how events are delivered from now on, waiting ones included.

    Raises:
        SandboxError: the instance does not respond.
    """
    control(instance, "PUT", "/eventgrid/faults", settings, answer=FaultSettings)


def event_settings(instance: Instance) -> FaultSettings:
    """The current delivery settings. Raises like `switch_events`."""
    return control(instance, "GET", "/eventgrid/faults", answer=FaultSettings)


def event_counts(instance: Instance) -> EventCounts:
    """The number of events since the start, by their fate. Raises like `switch_events`."""
    return control(instance, "GET", "/eventgrid/counts", answer=EventCounts)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command `events`."""
    parser.add_argument("mode", choices=("on", "off", "lossy", "status"))
    lossy = parser.add_argument_group("lossy")
    lossy.add_argument("--drop", type=_percent, metavar="N", help="percentage of deliveries dropped (default: 30)")
    lossy.add_argument("--double", type=_percent, metavar="N", help="percentage of the rest sent twice (default: 30)")
    text = f"shift each delivery at random by up to this many seconds (without a number: {_SHUFFLE_SECONDS:g})"
    lossy.add_argument("--shuffle", type=_seconds, nargs="?", const=_SHUFFLE_SECONDS, metavar="SECONDS", help=text)
    lossy.add_argument("--seed", type=int, help="the same events in the same order have the same fate again")


def run(instance: Instance, options: argparse.Namespace) -> None:
    """Run the command `events`, then print the settings and the counts.

    Raises:
        SandboxError: the instance does not run or respond, or an option does not belong to the mode.
    """
    given = [name for name in ("drop", "double", "shuffle", "seed") if getattr(options, name) is not None]
    if given and options.mode != "lossy":
        raise SandboxError(f"--{given[0]} belongs to `events lossy`, not to `events {options.mode}`")
    if running_pid(instance) is None:
        raise SandboxError(f"no sandbox runs in {instance.root}")
    if options.mode != "status":
        switch_events(instance, {"on": ON, "off": OFF}.get(options.mode) or _lossy(options))
    print(f"event delivery is {_settings_text(event_settings(instance))}")
    print(_counted(event_counts(instance)))


def _lossy(options: argparse.Namespace) -> FaultSettings:
    drop, double = (0.3 if given is None else given for given in (options.drop, options.double))
    return FaultSettings(drop=drop, duplicate=double, shuffle_seconds=options.shuffle or 0.0, seed=options.seed)


def _settings_text(settings: FaultSettings) -> str:
    if settings.off:
        return "off: events are dropped, as for a stopped app"
    if not (settings.drop or settings.duplicate or settings.shuffle_seconds):
        return "on"
    seed = "none" if settings.seed is None else settings.seed
    return (
        f"lossy: {settings.drop:.0%} dropped, {settings.duplicate:.0%} doubled, "
        f"shuffled within {settings.shuffle_seconds:g} s, seed {seed}"
    )


def _counted(counts: EventCounts) -> str:
    dropped = counts.dropped + counts.lost_by_fault
    return (
        f"  since the start: published {counts.published}, delivered {counts.delivered}, dropped {dropped}, "
        f"doubled {counts.doubled_by_fault}, dead-lettered {counts.dead_lettered}, waiting {counts.waiting}"
    )


def _percent(text: str) -> float:
    percent = _number(text)
    if not 0 <= percent <= 100:
        raise argparse.ArgumentTypeError(f"'{text}' is not a percentage: 0 to 100")
    return percent / 100


def _seconds(text: str) -> float:
    seconds = _number(text)
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds: 0 to 3600")
    return seconds


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
