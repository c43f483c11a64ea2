"""`python -m sandbox.conformance`: play every row, print where the sandbox does something else, and `N of M`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from sandbox.conformance.probes import PROBES
from sandbox.conformance.table import Result, Verdict, play, read_rows


def main() -> int:
    """Print each refusal and disagreement, and a line for each area; 0 if nothing disagrees."""
    options = argparse.ArgumentParser(prog="python -m sandbox.conformance", description=__doc__)
    options.add_argument("--all", action="store_true", help="print the rows that agree, too")
    shown = {Verdict.REFUSED, Verdict.DIFFERS} | ({Verdict.AGREES} if options.parse_args().all else set())
    results = [play(row, PROBES[row.probe]) for row in read_rows()]
    for result in results:
        if result.verdict in shown:
            print(_line(result))
    print(_summary(results))
    return 1 if any(result.verdict is Verdict.DIFFERS for result in results) else 0


def _line(result: Result) -> str:
    row = result.row
    seen = f"\n    here: {result.seen}" if result.seen else ""
    return f"{result.verdict:9} {row.area}/{row.id}: {row.what} ({row.source}){seen}"


def _summary(results: list[Result]) -> str:
    verdicts = Counter(result.verdict for result in results)
    lines = [""]
    for area in dict.fromkeys(result.row.area for result in results):
        rows = [result for result in results if result.row.area == area]
        lines.append(f"{area:14} {sum(result.verdict is Verdict.AGREES for result in rows):3} of {len(rows):3}")
    agreed, refused, differ = (verdicts[verdict] for verdict in (Verdict.AGREES, Verdict.REFUSED, Verdict.DIFFERS))
    lines.append(f"{refused} are refused by name, {differ} differ")
    return "\n".join([*lines, f"{agreed} of {len(results)} agree"])


if __name__ == "__main__":
    sys.exit(main())
