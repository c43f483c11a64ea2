"""The silence beat: what goes wrong without a sound. An upstream nobody could read, a secret that runs out, events
that reach nobody."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.policy import Gate, RegistryRule
from shared.domain.sighting import Sighting
from shared.domain.sweeping import SWEEPS, SweepRecord
from shared.workflow.services import Services
from shared.workflow.sweep.alarms import Alarms, Every
from shared.workflow.sweep.tour import Tour

EXPIRY_NOTICE = timedelta(days=21)
_PERIODS = 3
_SHORTEST_SILENCE_SECONDS = 1800.0
_EVERY_SECONDS = 3600.0
"""Secrets and subscriptions are looked at once an hour: that takes calls to Azure, and they change seldom."""


class GateSilenceBeat:
    """Whether the source of a gate was looked at lately, and has changed as often as its rule expects."""

    every_seconds = 0.0

    def __init__(self, services: Services, gate: Gate) -> None:
        self._services, self._gate, self._alarms = services, gate, Alarms(services)
        self.name, self.lane = f"silence.{gate.name}", "ledger"
        self._scope = f"gates/{gate.name}"
        self._source = f"{services.registry_rule(gate.source.registry).login_server}/{gate.source.repository}"

    def slices(self, tour: Tour) -> Iterator[str]:
        """One slice: all of it is in the ledger."""
        looked_at = frozenset((AlarmKind.UPSTREAM_UNREAD, AlarmKind.UPSTREAM_QUIET))
        self._alarms.settle(tour, self._scope, Every(looked_at), [*self._unread(), *self._quiet()])
        yield self._gate.name

    def _unread(self) -> Iterator[Alarm]:
        """No whole round of looks for several periods."""
        stored = self._services.ledger.load(SweepRecord, SWEEPS, f"upstream.{self._gate.name}")
        record = stored.record if stored else None
        last = (record.last_began_at or record.began_at) if record else None
        if record is None or last is None:
            return
        watch = self._services.registry_rule(self._gate.source.registry).watch_seconds
        limit = max(_SHORTEST_SILENCE_SECONDS, _PERIODS * float(watch))
        if self._now - last > timedelta(seconds=limit):
            why = record.problem or "no reason is known"
            words = f"{self._source} was not wholly looked at since {last:%Y-%m-%d %H:%M}: {why}"
            yield self._alarm(
                AlarmKind.UPSTREAM_UNREAD, words, "every sweep tries again; see to the registry and its credentials"
            )

    def _quiet(self) -> Iterator[Alarm]:
        """No change upstream for longer than the rule expects."""
        limit = self._gate.silent_after_seconds
        if not limit:
            return
        sightings = self._services.ledger.list(Sighting, self._gate.name)
        last = max((stored.record.since for stored in sightings), default=None)
        if last is not None and self._now - last > timedelta(seconds=limit):
            words = f"no tag of {self._source} has changed since {last:%Y-%m-%d %H:%M}"
            yield self._alarm(AlarmKind.UPSTREAM_QUIET, words, "see whether it is still published there")

    @property
    def _now(self) -> datetime:
        return self._services.clock.now()

    def _alarm(self, kind: AlarmKind, words: str, plan: str) -> Alarm:
        subject = self._gate.source.repository
        return Alarm(scope=self._scope, kind=kind, subject=subject, words=words, plan=plan, since=self._now)


class RegistrySilenceBeat:
    """Whether a registry's credentials run out, and whether the events of a source reach this app."""

    every_seconds = _EVERY_SECONDS

    def __init__(self, services: Services, registry: RegistryRule) -> None:
        self._services, self._registry, self._alarms = services, registry, Alarms(services)
        self.name, self.lane = f"silence.registry.{registry.name}", f"silence {registry.name}"
        self._scope = f"registries/{registry.name}"

    def slices(self, tour: Tour) -> Iterator[str]:
        """One slice: four calls to Azure at most."""
        looks = ((AlarmKind.NO_SUBSCRIPTION, self._unsubscribed), (AlarmKind.SECRET_EXPIRES, self._expiring))
        for kind, look in looks:  # a vault that is shut must not hide that no events come
            self._alarms.settle(tour, self._scope, Every(frozenset((kind,))), list(look()))
        yield self._registry.name

    def _expiring(self) -> Iterator[Alarm]:
        """The secrets of the registry in the vault, and what they are good for if that is a token of the registry."""
        stem, now = self._registry.credentials, self._services.clock.now()
        if not stem:
            return
        expiries = [(f"the secret {stem}-user or {stem}-password", self._services.secrets.expiry(self._registry))]
        if self._registry.is_azure:
            user, _ = self._services.secrets.of(self._registry)
            expiries.append(
                (f"a password of its token {user}", self._services.registry.token_expiry(self._registry, user, now))
            )
        for what, expires_at in expiries:
            if expires_at is not None and expires_at - now < EXPIRY_NOTICE:
                words = f"{self._registry.login_server}: {what} expires at {expires_at:%Y-%m-%d %H:%M} UTC"
                yield self._alarm(
                    AlarmKind.SECRET_EXPIRES, stem, words, f"make a new password, and store it as {stem}-password"
                )
                return

    def _unsubscribed(self) -> Iterator[Alarm]:
        """Events are expected of Azure registries that a gate has as its source."""
        sources = {gate.source.registry for gate in self._services.policy.gates.values()}
        if not self._registry.is_azure or self._registry.name not in sources:
            return
        if self._services.subscriptions.reach_us(self._registry) is False:
            words = f"no event subscription of {self._registry.login_server} reaches this app"
            plan = "subscribe its ImagePushed events again; until then the sweep finds every push"
            yield self._alarm(AlarmKind.NO_SUBSCRIPTION, self._registry.name, words, plan)

    def _alarm(self, kind: AlarmKind, subject: str, words: str, plan: str) -> Alarm:
        now = self._services.clock.now()
        return Alarm(scope=self._scope, kind=kind, subject=subject, words=words, plan=plan, since=now)
