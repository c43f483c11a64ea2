"""One measured figure: two things side by side, and how many times the one is the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """`base` and `other` in one unit; the ratio says how many times `other` is `base`.

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
        """How many times `other` is `base`."""
        return self.other / self.base


def table(figures: Iterable[Figure]) -> Iterator[str]:
    """Lines for people: one a figure."""
    yield f"{'figure':<20}{'base':>38}{'other':>42}  unit"
    for figure in figures:
        base, other = f"{figure.base_is} {figure.base:,.1f}", f"{figure.other_is} {figure.other:,.1f}"
        yield f"{figure.name:<20}{base:>38}{other:>42}  {figure.unit}"


def ratios(figures: Iterable[Figure]) -> Iterator[str]:
    """Lines for programs: `ratio NAME N.NN`."""
    return (f"ratio {figure.name} {figure.ratio:.2f}" for figure in figures)
