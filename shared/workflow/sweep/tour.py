"""What a sweep carries through a beat: whether it may act, what it found and did, and how it spreads its looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol, TypeVar

from shared.domain.sweeping import SweepRecord
from shared.workflow.plan import Effect

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE = 16
"""How many requests go to one registry at a time."""


class Spread(Protocol):
    """Does the same work on many items, several at a time or not; the results keep the order of the items."""

    def __call__(self, work: Callable[[T], R], items: Sequence[T], /) -> list[R]:
        """All results. What the work raises comes through."""
        ...


def one_by_one(work: Callable[[T], R], items: Sequence[T], /) -> list[R]:
    """One after the other, as simulations need it."""
    return [work(item) for item in items]


def in_threads(work: Callable[[T], R], items: Sequence[T], /) -> list[R]:
    """Up to 16 at a time: the work waits for the network."""
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(items)), thread_name_prefix="sweep") as pool:
        return list(pool.map(work, items))


def in_slices(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of a size, the last one shorter: never more than one slice is held."""
    piece: list[T] = []
    for item in items:
        piece.append(item)
        if len(piece) == size:
            yield piece
            piece = []
    if piece:
        yield piece


def in_order(names: Iterable[str], at_once: int) -> Iterator[str]:
    """The names sorted, so many at a time: never more than those are held."""
    return chain.from_iterable(map(sorted, in_slices(names, at_once)))


@dataclass(slots=True)
class Tour:
    """One beat being swept. `record` is how far it has come; in a dry run nothing is written, and nothing mended."""

    record: SweepRecord
    dry_run: bool = False
    spread: Spread = in_threads
    effects: list[Effect] = field(default_factory=list)

    def note(self, what: str, subject: Any) -> None:
        """Take down what was found or done (in a dry run: would be done)."""
        self.effects.append(Effect(what, str(subject)))


class Beat(Protocol):
    """One part of what is swept. Beats of one lane are walked one after the other, lanes beside each other."""

    @property
    def name(self) -> str:
        """Its name, `upstream.node`: the row of its record."""
        ...

    @property
    def lane(self) -> str:
        """What it shares with other beats and must not crowd: a registry, say."""
        ...

    @property
    def every_seconds(self) -> float:
        """How long after the beginning of a round the next one begins at the earliest; 0: with every sweep."""
        ...

    def slices(self, tour: Tour) -> Iterator[str]:
        """Sweep from `tour.record.after` on; yields the cursor after each slice, a moment to save and to stop at.

        Raises:
            Busy: it cannot go on now, which is no failure. BasegateError: it cannot go on, which is one.
        """
        ...
