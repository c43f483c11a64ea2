"""Play schedules: `python -m tests.simulation SEEDS`, or one of them with its log: `--seed N`."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
from collections import Counter
from multiprocessing import get_context
from time import monotonic

from tests.simulation.kinds import ENOUGH, missing
from tests.simulation.schedule import Result, Schedule
from tests.simulation.story import LINES

_SHOWN = 3
_AT_A_TIME = 10
_TASKS = 40
"""How many times ten schedules a process plays before another one takes its place: so it needs no garbage collector,
which would take a twentieth of the time, and stays below 200 MB."""


def main() -> int:
    """Return 1 if an invariant is violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seeds", nargs="?", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="play this one, and print its log")
    parser.add_argument("--lines", type=int, default=LINES, help="the number of lines of its log")
    options = parser.parse_args()
    _same_order_every_time()
    logging.disable(logging.CRITICAL)
    if options.seed is not None:
        return _tell(options.seed, options.lines)
    began, counts, failed = monotonic(), Counter[str](), list[int]()
    Schedule(options.first).play()  # the processes are copies of this one, in which the interpreter is warm
    with get_context("fork").Pool(initializer=_begin, maxtasksperchild=_TASKS) as pool:
        for result in pool.imap_unordered(_play, range(options.first, options.first + options.seeds), _AT_A_TIME):
            counts.update(result.counts)
            if result.violations:
                failed.append(result.seed)
    for seed in sorted(failed)[:_SHOWN]:
        _tell(seed)
    _report(counts, monotonic() - began)
    if failed:
        print(f"failed: {' '.join(map(str, sorted(failed)))}")
    never = missing(counts) if options.seeds >= ENOUGH else []
    if never:
        print(f"never happened: {', '.join(never)}")
    print(f"{options.seeds} schedules, {len(failed)} violations")
    return 1 if failed or never else 0


def _begin() -> None:
    logging.disable(logging.CRITICAL)
    gc.disable()


def _play(seed: int) -> Result:
    return Schedule(seed).play()


def _tell(seed: int, lines: int = LINES) -> int:
    result = Schedule(seed, recorded=True).play()
    assert result.story is not None  # it was recorded
    print(f"--- seed {seed} ---\n{result.story.text(lines)}")
    for violation in result.violations:
        print(f"VIOLATION {violation}")
    print(f"again: python -m tests.simulation --seed {seed}" if result.violations else "no violation")
    return 1 if result.violations else 0


def _report(counts: Counter[str], seconds: float) -> None:
    schedules = max(1, counts["# schedules"])
    for name, number in sorted(counts.items()):
        if name.startswith("#"):
            print(f"{number / schedules:10.1f}  {name.removeprefix('# ')} a schedule")
        else:
            print(f"{number:10}  {name}")
    print(f"{1000 * seconds / schedules:10.0f}  ms a schedule")


def _same_order_every_time() -> None:
    """Run again with seeded hashes: otherwise sets of text have a different order in every process."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        again = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | {"PYTHONHASHSEED": "0"})


if __name__ == "__main__":
    sys.exit(main())
