"""Kill the running scenario's processes: `python -m tests.chaos --kills 200 --seed 1`. Exits 1 on a violation."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from shared.promotion.stable_tags import CLAIM_SECONDS
from tests.chaos.run import Ended, Plan, Run
from tests.e2e.house import House

STAY_SECONDS = 150.0
"""More than the lease of a sweep job, two minutes, during which no other worker can run a killed worker's job."""


def main() -> int:
    """Play one run, and print its result. The folder with the logs is kept if there are violations."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=4.0, help="mean seconds between two kills")
    parser.add_argument(
        "--stay", type=float, default=STAY_SECONDS, help="seconds under its tag after which a digest counts"
    )
    settle = CLAIM_SECONDS + 90.0  # the claim of a killed mover, which may only be paused, blocks its tag
    parser.add_argument("--settle", type=float, default=settle, help="seconds to settle in after the last kill")
    options = parser.parse_args()
    plan = Plan(kill_limit=22 * 60.0, **vars(options))
    folder = Path(tempfile.mkdtemp(prefix="chaos"))
    house = House(folder)
    os.environ["TMPDIR"] = str(folder / "tmp")  # so that leftovers are found
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # so that everything that was started is stopped
    print(f"seed {plan.seed}, in {folder}", flush=True)
    ended = Run(plan, folder, lambda line: print(line, flush=True)).play()
    wrong = [*ended.violations, *(f"left behind: {line}" for line in house.leftovers())]
    _report(ended, wrong)
    if wrong:
        print(f"logs: {house.instance.logs}\nagain: python -m tests.chaos --kills {plan.kills} --seed {plan.seed}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    killed = ", ".join(f"{count} {kind}" for kind, count in sorted(ended.killed.items()))
    total = sum(ended.killed.values())
    stayed = f"{ended.pushes} pushes, {ended.stayed} digests that stayed"
    print(f"{total} kills ({killed}), {stayed}, {len(wrong)} violations")
    return 1 if wrong else 0


def _report(ended: Ended, wrong: list[str]) -> None:
    for kind, count in sorted(ended.killed.items()):
        print(f"{count:7}  kills: {kind}")
    print(f"{ended.samples:7}  samples of the stable tags, with {ended.readings} changes")
    print(f"{ended.heard:7}  outcomes received")
    print(f"{ended.harmed:7}  good images that failed because their run was killed")
    print(f"{ended.settled_after:7.0f}  seconds from the last kill until all had settled")
    for line in wrong:
        print(f"VIOLATION {line}")


if __name__ == "__main__":
    sys.exit(main())
