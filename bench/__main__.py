"""`python -m bench`: measure, print a table and the ratios."""

from __future__ import annotations

import sys

from bench import board, event_path, gateway, requests, workflow
from bench.figure import ratios, table


def main() -> int:
    """Measure everything (about half a minute); always returns 0, since nothing here passes or fails."""
    figures = [*workflow.measure(), *requests.measure(), *board.measure(), *event_path.measure(), *gateway.measure()]
    print("\n".join([*table(figures), "", *ratios(figures)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
