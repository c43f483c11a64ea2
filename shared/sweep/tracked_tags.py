"""The tags of a source that a gate tracks, in a stable order, from a cursor on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, dropwhile

from shared.domain.tag_rule import TagRule
from shared.sweep.job import in_order

_SORTED_TAGS = 10_000
"""Many registries list tags in no order. Sorted, a batch is a narrow range of the ledger, which holds little else."""


class TrackedTags:
    """One pass over the tracked tags. `listing` gives all tags of the repository, and is asked only for patterns.

    `missed` are those of the given names that have not come by, `is_empty` whether none has at all: both are known at
    the end of the pass.
    """

    def __init__(self, rule: TagRule, listing: Callable[[], Iterable[str]], given: Iterable[str] = ()) -> None:
        self._rule, self._listing = rule, listing
        self.missed, self.is_empty = set(given), True

    def behind(self, cursor: str) -> Iterator[str]:
        """The tags behind the cursor. One that is gone means to begin anew."""
        if not self._rule.needs_listing:
            return (tag for tag in self._all() if tag > cursor)
        if not cursor:
            return self._all()
        behind = dropwhile(lambda tag: tag != cursor, self._all())
        return behind if next(behind, None) == cursor else self._all()

    def _all(self) -> Iterator[str]:
        for tag in self._in_order():
            self.missed.discard(tag)
            self.is_empty = False
            yield tag

    def _in_order(self) -> Iterable[str]:
        """Names are asked for whether they are listed or not; of the others only the registry knows."""
        names = self._rule.exact
        if not self._rule.needs_listing:
            return sorted(names)
        others = (tag for tag in self._rule.select(self._listing()) if tag not in names)
        return in_order(chain(names, others), _SORTED_TAGS)
