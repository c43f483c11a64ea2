"""One measured figure: two values side by side, and their ratio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """`base` and `other` in one unit; the ratio is `other` divided by `base`.

    Only the ratio can be compared between machines: both were measured in one run, by turns.
    """

    name: str
    unit: str
    base_is: str
    base: float
    other_is: str
    other: float

    @property
    def ratio(self) -> float:
        """`other` divided by `base`."""
        return self.other / self.base


def table(figures: Iterable[Figure]) -> Iterator[str]:
    """Lines for people: one per figure."""
    yield f"{'figure':<20}{'base':>38}{'other':>42}  unit"
    for figure in figures:
        base, other = f"{figure.base_is} {figure.base:,.1f}", f"{figure.other_is} {figure.other:,.1f}"
        yield f"{figure.name:<20}{base:>38}{other:>42}  {figure.unit}"


def ratios(figures: Iterable[Figure]) -> Iterator[str]:
    """Lines for programs: `ratio NAME N.NN`."""
    return (f"ratio {figure.name} {figure.ratio:.2f}" for figure in figures)
