"""What operators read: everything at a glance, lists by time, and the whole story of one record."""

from __future__ import annotations

from typing import Any

import msgspec

from shared.domain.candidate import Candidate, Track
from shared.domain.policy import App, Gate
from shared.domain.rollout import Rollout
from shared.domain.standing import Veto
from shared.workflow.dependents import AppRecords
from shared.workflow.operate.find import Find, candidate_id, rollout_id
from shared.workflow.services import Services

PAGE_LIMIT = 100


class Report:
    """Reads the ledger for people and programs."""

    def __init__(self, services: Services) -> None:
        self._services, self._find, self._apps = services, Find(services), AppRecords(services)

    def status(self) -> dict[str, Any]:
        """All gates and apps at a glance."""
        policy = self._services.policy
        return {
            "gates": [self._gate(gate) for gate in policy.gates.values()],
            "apps": [self._app(app) for app in policy.apps.values()],
        }

    def gate(self, name: str) -> dict[str, Any]:
        """One gate: its rule, its stable tags with their holds, its vetoes."""
        gate = self._find.gate(name)
        vetoes = (stored.record for stored in self._services.ledger.list(Veto, gate.name))
        return self._gate(gate) | {
            "rule": msgspec.to_builtins(gate),
            "vetoes": [msgspec.to_builtins(veto) for veto in vetoes if veto.stands],
        }

    def candidates(self, gate_name: str, limit: int, token: str) -> dict[str, Any]:
        """The candidates of a gate, the newest first, a page at a time."""
        gate = self._find.gate(gate_name)
        page = self._services.ledger.page(Candidate, gate.name, min(limit, PAGE_LIMIT), token)
        return {"items": page.items, "next": page.token}

    def rollouts(self, app_name: str, limit: int, token: str) -> dict[str, Any]:
        """The rollouts of an app, the newest first, a page at a time."""
        app = self._find.app(app_name)
        page = self._services.ledger.page(Rollout, app.name, min(limit, PAGE_LIMIT), token)
        return {"items": page.items, "next": page.token}

    def candidate(self, identifier: str) -> tuple[dict[str, Any], str]:
        """The whole story of a candidate, in order, with its evidence; and its ETag."""
        stored = self._find.candidate(identifier)
        return {"id": candidate_id(stored.record)} | msgspec.to_builtins(stored.record), stored.etag

    def rollout(self, identifier: str) -> tuple[dict[str, Any], str]:
        """The whole story of a rollout, and its ETag."""
        stored = self._find.rollout(identifier)
        return {"id": rollout_id(stored.record)} | msgspec.to_builtins(stored.record), stored.etag

    def log(self, identifier: str) -> str:
        """The stored log of a candidate's check, as it was kept. Raises `NotThere` where there is none."""
        record = self._find.candidate(identifier).record
        names = [check.evidence.log_blob for check in record.checks if check.evidence.log_blob]
        return self._services.archive.read(names[-1]) if names else ""

    def _gate(self, gate: Gate) -> dict[str, Any]:
        tracks = (stored.record for stored in self._services.ledger.list(Track, gate.name))
        latest = self._services.ledger.page(Candidate, gate.name, 1, "").items
        return {
            "name": gate.name,
            "source": f"{self._services.registry_rule(gate.source.registry).login_server}/{gate.source.repository}",
            "target": f"{self._services.registry_rule(gate.promote.registry).login_server}/{gate.promote.repository}",
            "stable": [_stable(track) for track in tracks if track.digest or track.hold],
            "latest": latest[0] if latest else None,
        }

    def _app(self, app: App) -> dict[str, Any]:
        record = self._apps.load(app.name).record
        latest = self._services.ledger.page(Rollout, app.name, 1, "").items
        return {
            "name": app.name,
            "standsOn": msgspec.to_builtins(app.base),
            "live": str(record.live) if record.live else None,
            "liveSince": record.live_since,
            "base": str(record.base) if record.base else None,
            "latest": latest[0] if latest else None,
        }


def _stable(track: Track) -> dict[str, Any]:
    return {
        "tag": track.tag,
        "digest": track.digest,
        "unique": track.unique,
        "movedAt": track.moved_at,
        "hold": msgspec.to_builtins(track.hold) if track.hold else None,
    }
