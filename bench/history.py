"""`python -m bench.history`: a page of the history of 1,000, 10,000 and 100,000 candidates.

The app's table adapter uses Azurite. For each query, Azurite scans every row of a table and sorts the matches; Azure
reads the keys of one partition in order. So Azurite's time does not predict Azure's, and is measured apart from the
app's: the number of requests, the bytes received, and the time to send the requests and to read the responses.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec
from azure.core.credentials import AzureNamedKeyCredential

from bench.figure import Figure, ratios
from bench.loading import in_bulk
from bench.wire import Wire
from sandbox.testing import table_accounts
from shared.adapters.ledger_tables import TableLedger
from shared.domain.candidate import Candidate
from tests.fakes import START, World, digest

_SIZES = (1_000, 10_000, 100_000)
_TURNS = 28
_DEEP = 9
"""The number of pages that are read before it begins at the newest again: the smallest history has ten."""

_PAGE_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians over several pages in a row: requests, kilobytes received, and milliseconds: the app's processor time
    and the wait for Azurite."""

    records: int
    requests: float
    kilobytes: float
    app: float
    azurite: float


def main() -> int:
    """Measure (about three minutes), print a table and the ratios; always returns 0: nothing here passes or fails."""
    with table_accounts(*(f"history{size}" for size in _SIZES)) as accounts:
        histories = [_history(size, *accounts[f"history{size}"]) for size in _SIZES]
        measured = _by_turns(histories)
    print(f"{'candidates':>10}{'requests/page':>15}{'KB/page':>10}{'app CPU ms/page':>17}{'Azurite ms/page':>17}")
    for one in measured:
        print(f"{one.records:>10,}{one.requests:>15.1f}{one.kilobytes:>10.1f}{one.app:>17.1f}{one.azurite:>17.1f}")
    print("Azurite scans every row for each query and sorts the matches: the last column is not Azure's.")
    print("\n".join(["", *ratios(_figures(measured[0], measured[-1]))]))
    return 0


def _figures(few: Measured, many: Measured) -> Iterator[Figure]:
    for name, unit in (("requests", "requests"), ("kilobytes", "KB"), ("app", "ms"), ("azurite", "ms")):
        base, other = getattr(few, name), getattr(many, name)
        yield Figure(f"history_{name}", unit, f"of {few.records:,}", base, f"of {many.records:,}", other)


@dataclass
class History:
    """A ledger with a number of candidates, the position of the next page, and the cost of each page read.

    `taken` is the traffic, and the seconds of processor time in the app, which exclude what else the
    machine does.
    """

    records: int
    ledger: TableLedger
    token: str = ""
    taken: list[tuple[Wire, float]] = field(default_factory=list)

    def turn(self) -> None:
        """Read the next page."""
        wire = Wire()
        with wire.listening():
            began = time.thread_time()
            page = self.ledger.page(Candidate, "node", _PAGE_LIMIT, self.token)
            self.taken.append((wire, time.thread_time() - began))
        assert len(page.items) == _PAGE_LIMIT, f"{len(page.items)} items on a page of {_PAGE_LIMIT}"
        self.token = page.next if len(self.taken) % _DEEP else ""

    def measured(self) -> Measured:
        """The medians, without the first page, which opened the connection."""
        taken = self.taken[1:]
        return Measured(
            self.records,
            statistics.median(wire.requests for wire, _ in taken),
            statistics.median(wire.received for wire, _ in taken) / 1024,
            statistics.median(seconds for _, seconds in taken) * 1000,
            statistics.median(wire.waited for wire, _ in taken) * 1000,
        )


def _history(size: int, endpoint: str, key: AzureNamedKeyCredential) -> History:
    ledger = TableLedger(endpoint, lambda: key)  # type: ignore[arg-type,return-value]  # plain HTTP requires a key
    _load(ledger, _promoted(), size)
    return History(size, ledger)


def _by_turns(histories: list[History]) -> list[Measured]:
    """Read a page of each by turns, so that what else the machine does affects all of them alike."""
    for _ in range(_TURNS):
        for history in histories:
            history.turn()
    return [history.measured() for history in histories]


def _promoted() -> Candidate:
    """A promoted candidate."""
    world = World()
    world.push("15-alpine", digest("bench"))
    world.settle()
    return world.candidates()[0]


def _load(ledger: TableLedger, sample: Candidate, size: int) -> None:
    """Insert candidates through the adapter, so that their rows are those of the app."""
    with in_bulk(ledger):
        for number in range(size):
            moment = START + timedelta(seconds=number)
            ledger.insert(msgspec.structs.replace(sample, digest=digest(str(number)), created_at=moment))


if __name__ == "__main__":
    sys.exit(main())
