"""`make sandbox-attacks`: plays every attack that the tests know, and prints who tried what, and what refused it.

An attack is a test with the mark `attack(who, tried, refused_by)`. The exit code is 0 if each was played and refused.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass(slots=True)
class Attack:
    """One attack and its results so far: several, where a test has parameters."""

    who: str
    tried: str
    refused_by: str
    results: set[str] = field(default_factory=set)

    def line(self) -> str:
        """The attack as one line."""
        if self.results == {"passed"}:
            end = f"refused: {self.refused_by}"
        elif "failed" in self.results:
            end = "GOT THROUGH, see above"
        else:
            end = "NOT PLAYED here"
        return f"{self.who:<20} {self.tried:<70} {end}"


class Table:
    """Collects the results of attacks, and prints them at the end."""

    def __init__(self) -> None:
        self.attacks: dict[str, Attack] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note the attacks, in the order in which they are played."""
        for item in session.items:
            if mark := item.get_closest_marker("attack"):
                self.attacks.setdefault(_test(item.nodeid), Attack(*mark.args))

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note a result: that of the test itself, or a failure around it."""
        if report.when == "call" or not report.passed:
            self.attacks[_test(report.nodeid)].results.add(report.outcome)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table."""
        for attack in sorted(self.attacks.values(), key=lambda attack: attack.who):
            terminalreporter.write_line(attack.line())

    @property
    def refused(self) -> bool:
        """Whether there are attacks, and each was played and refused."""
        return bool(self.attacks) and all(attack.results == {"passed"} for attack in self.attacks.values())


def _test(node_id: str) -> str:
    return node_id.partition("[")[0]


def main() -> int:
    """Play the attacks."""
    table = Table()
    tests = Path(__file__).parent
    code = pytest.main(["-q", "-r", "N", "-p", "no:cacheprovider", "-m", "attack", str(tests)], plugins=[table])
    return int(code) or int(not table.refused)


if __name__ == "__main__":
    sys.exit(main())
