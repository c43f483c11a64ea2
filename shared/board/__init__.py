"""The board: typed pages made from the ledger, without HTML."""

from collections.abc import Sequence
from datetime import datetime

from shared.board import records
from shared.board.drift import DriftPage, drift_page
from shared.board.overview import Overview, overview_page
from shared.board.records import Filter, History, RecordPage
from shared.health import HealthResult
from shared.ports import Services
from shared.queries.drift import DriftQuery
from shared.queries.lookup import Lookup


class Views:
    """Creates pages. `now` is the moment that ages refer to."""

    def __init__(self, services: Services, now: datetime) -> None:
        self._services, self._lookup, self._now = services, Lookup(services), now

    def overview(self, unready: Sequence[HealthResult] | None = ()) -> Overview:
        """All gates and apps, and what needs attention; `unready` are results that stop the app, None if unknown."""
        return overview_page(self._services, self._now, unready)

    def drift(self) -> DriftPage:
        """Upstream, ledger, stable tag, app and container side by side, as the last sweep saw them."""
        return drift_page(DriftQuery(self._services).drift(), self._now)

    def candidate(self, identifier: str) -> RecordPage:
        """The page of a candidate. Raises `Malformed` or `NotFound`."""
        stored = self._lookup.candidate(identifier)
        return records.candidate_page(stored, self._lookup.promotions_for(stored.record), self._now)

    def rollout(self, identifier: str) -> RecordPage:
        """The page of a rollout. Raises `Malformed` or `NotFound`."""
        stored = self._lookup.rollout(identifier)
        return records.rollout_page(stored, self._services.app(stored.record.app), self._now)

    def gate(self, name: str, shown: Filter, token: str) -> History:
        """A page of a gate's history.

        Raises:
            Malformed: the state or a time is invalid.
            NotFound: there is no such gate.
        """
        return records.gate_history(self._services, self._lookup.gate(name), shown, token)

    def app(self, name: str, shown: Filter, token: str) -> History:
        """A page of an app's history. Raises as `gate` does."""
        return records.app_history(self._services, self._lookup.app(name), shown, token)
