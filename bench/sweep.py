"""`python -m bench.sweep`: a sweep of 1,000 unchanged tags, and `skopeo inspect` in a loop, by turns.

The sweep, the registry client and the table adapter are the app's; the registry is a real one on loopback, the tables
are Azurite's. Then it measures the memory of a sweep of 100, 1,000 and 10,000 tags.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from azure.core.credentials import AzureNamedKeyCredential

from bench.sweep_gate import BenchGate, Where
from bench.sweep_memory import measure_memory
from bench.sweep_registry import BenchRegistry, bench_registry, digest_of, manifest
from bench.sweep_skopeo import WAYS, inspect_each
from bench.wire import Wire
from sandbox.testing import table_accounts
from shared.sweep.sweep import JobState

_TAGS = [f"1.{number}.0" for number in range(1_000)]
_RULES: Mapping[str, tuple[str, ...]] = {"names": tuple(_TAGS), "pattern": ("1.*",)}
_ROUNDS, _INSPECTED = 4, 10
_SIZES = (100, 1_000, 10_000)

Accounts = Mapping[str, tuple[str, AzureNamedKeyCredential]]


@dataclass
class Tracked:
    """A gate that tracks tags by names or by a pattern, and its sweeps: seconds, and requests by service and kind."""

    name: str
    gate: BenchGate
    seconds: list[float] = field(default_factory=list)
    registry: Counter[str] = field(default_factory=Counter)
    ledger: Counter[str] = field(default_factory=Counter)

    def sweep(self, registry: BenchRegistry, news: int = 0) -> None:
        """Run one sweep; it must read every tag once, find `news` of them new, and request no token."""
        wire, before = Wire(), registry.answered()
        with wire.listening():
            began = time.perf_counter()
            result = self.gate.sweep()
            self.seconds.append(time.perf_counter() - began)
        (job,) = result.jobs
        assert (job.state, job.checked, len(result.effects)) == (JobState.DONE, len(_TAGS), news), result
        self.registry, self.ledger = registry.answered(before.total() + len(_TAGS)) - before, wire.methods
        assert self.registry["HEAD manifests"] == len(_TAGS), self.registry
        assert self.gate.identity.asked == 0, "Azure Resource Manager was called"

    @property
    def typical(self) -> float:
        """Seconds per tag, the median of all sweeps but the first, which opens the connections."""
        return statistics.median(self.seconds[1:]) / len(_TAGS)


def main() -> int:
    """Measure (about two minutes), print tables and the ratios; always returns 0: nothing here passes or fails."""
    names = [*_RULES, *(f"of{size}" for size in _SIZES)]
    with bench_registry() as registry, table_accounts(*names) as accounts:
        ratio = _speed(registry, accounts)
        memory = _memory(registry, accounts)
    print(f"memory ratio {memory:.2f}")
    print(f"ratio {ratio:.1f}")
    return 0


def _speed(registry: BenchRegistry, accounts: Accounts) -> float:
    """Run sweeps and loops by turns; returns the time of the loop divided by that of the slower sweep."""
    contents = {tag: manifest(tag) for tag in _TAGS}
    registry.push("node", list(contents.items()))
    digests = {tag: digest_of(content) for tag, content in contents.items()}
    gates = [Tracked(name, _gate(registry, accounts, name, "node", tags)) for name, tags in _RULES.items()]
    for tracked in gates:
        tracked.gate.know(digests, promoted=True)
        tracked.sweep(registry)
    loops: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(_ROUNDS):
        for tracked in gates:
            tracked.sweep(registry)
        for way, seconds in loops.items():
            seconds.append(inspect_each(registry, way, "node", _TAGS[number::_ROUNDS][:_INSPECTED]))
    slowest = max(tracked.typical for tracked in gates)
    print("\n".join(_speed_table(gates, loops, slowest)))
    _tell_news(registry, gates)
    return statistics.median(loops[WAYS[0]]) / slowest


def _speed_table(gates: Sequence[Tracked], loops: Mapping[str, list[float]], slowest: float) -> Iterator[str]:
    head = f"{len(_TAGS):,} tags, nothing new"
    yield f"{head:<27}{'seconds':>16}{'ms/tag':>9}{'HEADs':>8}{'ARM':>5}{'ledger reads, writes':>22}"
    for tracked in gates:
        writes = tracked.ledger["POST"]
        asked = f"{tracked.registry['HEAD manifests']:>8,}{tracked.gate.identity.asked:>5}"
        ledger = f"{tracked.ledger.total() - writes:>16}, {writes}"
        yield f"{f'sweep, tags by {tracked.name}':<27}{_seconds(tracked.typical)}{asked}{ledger}"
    for way, taken in loops.items():
        typical = statistics.median(taken)
        yield f"{f'skopeo {way}':<27}{_seconds(typical)}   {typical / slowest:.1f} times the slower sweep"
    yield f"skopeo: {_ROUNDS * _INSPECTED} tags each way, extrapolated to {len(_TAGS):,}"


def _seconds(of_one: float) -> str:
    return f"{of_one * len(_TAGS):>16.1f}{of_one * 1000:>9.2f}"


def _tell_news(registry: BenchRegistry, gates: Sequence[Tracked]) -> None:
    """Push one tag again: a sweep that finds nothing may have read nothing."""
    registry.push("node", [(_TAGS[-1], manifest("another"))])
    for tracked in gates:
        tracked.sweep(registry, news=1)
    print("then one tag was pushed again: each sweep found that one\n")


def _memory(registry: BenchRegistry, accounts: Accounts) -> float:
    """The peak of a fresh process that sweeps the most tags, divided by that of one that sweeps the fewest."""
    content, peaks = manifest("many"), []
    print(f"{'tags, by a pattern':<20}{'peak resident MB':>18}{'of which after a first sweep of 100':>38}")
    for size in _SIZES:
        tags = [f"1.{number}.0" for number in range(size)]
        registry.push(f"of-{size}", [(tag, content) for tag in tags])
        _sized(registry, accounts, size).know(dict.fromkeys(tags, digest_of(content)), promoted=False)
        first, then = (_sized(registry, accounts, one).where for one in (_SIZES[0], size))
        peak, raised = measure_memory(first, then)
        peaks.append(peak)
        print(f"{size:<20,}{peak:>18.1f}{raised:>38.1f}")
    return peaks[-1] / peaks[0]


def _sized(registry: BenchRegistry, accounts: Accounts, size: int) -> BenchGate:
    return _gate(registry, accounts, f"of{size}", f"of-{size}", ("*",))


def _gate(
    registry: BenchRegistry, accounts: Accounts, account: str, repository: str, tags: tuple[str, ...]
) -> BenchGate:
    endpoint, key = accounts[account]
    where = Where(
        registry=registry.host, bundle=str(registry.bundle), repository=repository, tags=tags,
        ledger=endpoint, account=account, key=key.named_key.key,
    )  # fmt: skip
    return BenchGate(where)


if __name__ == "__main__":
    sys.exit(main())
