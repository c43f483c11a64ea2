"""The silence jobs: problems that raise no error. An unreadable upstream, an expiring secret, missing events, an
exception that ends.
"""

from collections.abc import Iterator
from datetime import timedelta

from shared.checks.scan import ScanCheck, granted_at
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.observation import Observation
from shared.domain.policy import Gate, RegistryRule, seconds
from shared.domain.sweep import SweepRecord
from shared.findings.exceptions import end_warnings, is_in_scope
from shared.ports import Services, read
from shared.sweep.job import JobRun, SweepJob

EXPIRY_WARNING = timedelta(days=21)
_PERIODS = 3
_SHORTEST_SILENCE_SECONDS = 1800.0


class GateSilenceJob(SweepJob):
    """Whether the source of a gate was read recently, and changes as often as expected; whether exceptions end."""

    def __init__(self, services: Services, gate: Gate) -> None:
        super().__init__(services, f"silence.{gate.name}", "ledger", f"gates/{gate.name}")
        self._gate, self._registry = gate, services.registry_rule(gate.source.registry)
        self._source = f"{self._registry.login_server}/{gate.source.repository}"

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch: all of it is in the ledger."""
        kinds = (AlarmKind.UPSTREAM_UNREAD, AlarmKind.UPSTREAM_QUIET, AlarmKind.EXCEPTION_ENDS)
        self._settle(run, kinds, [*self._unread(), *self._quiet(), *self._ending()])
        yield self._gate.name

    def _unread(self) -> Iterator[Alarm]:
        """No complete round of readings for several intervals."""
        record = read(self._services.ledger, SweepRecord(job=f"upstream.{self._gate.name}"))
        last = record.last_began_at or record.began_at
        limit = timedelta(seconds=max(_SHORTEST_SILENCE_SECONDS, _PERIODS * float(seconds(self._registry.interval))))
        if last is not None and self._services.clock.now() - last > limit:
            why = record.problem or "no reason is known"
            words = f"{self._source} was not read as a whole since {last:%Y-%m-%d %H:%M}: {why}"
            plan = "every sweep tries again; check the registry and its credentials"
            yield self._alarm(AlarmKind.UPSTREAM_UNREAD, self._gate.source.repository, words, plan)

    def _quiet(self) -> Iterator[Alarm]:
        """No change upstream for longer than the rule expects."""
        limit = seconds(self._gate.stale_after)
        if not limit:
            return
        observations = self._services.ledger.list(Observation, self._gate.name)
        last = max(filter(None, (stored.record.first_seen for stored in observations)), default=None)
        if last is not None and self._services.clock.now() - last > timedelta(seconds=limit):
            words = f"no tag of {self._source} has changed since {last:%Y-%m-%d %H:%M}"
            plan = "check whether it is still published there"
            yield self._alarm(AlarmKind.UPSTREAM_QUIET, self._gate.source.repository, words, plan)

    def _ending(self) -> Iterator[Alarm]:
        """Exceptions that have ended or end soon, if it scans: those of the rules, and those that were granted."""
        if not any(isinstance(rule, ScanCheck) for rule in self._gate.checks):
            return
        written = (one for one in self._services.policy.exceptions if is_in_scope(one, self._gate.name))
        known = (*written, *granted_at(self._services.ledger, self._gate.name))
        for exception, warning in end_warnings(known, self._services.clock.now()):
            plan = "what it covers fails scans from then on; images that are promoted stay"
            subject = f"{exception.vulnerability} {exception.package}".strip()
            yield self._alarm(AlarmKind.EXCEPTION_ENDS, subject, warning, plan)


class RegistrySilenceJob(SweepJob):
    """Whether a registry's credentials expire, and whether its events reach this app."""

    interval_seconds = 3600.0
    """Once an hour: it calls Azure, and secrets and subscriptions rarely change."""

    def __init__(self, services: Services, registry: RegistryRule) -> None:
        self._registry, name = registry, registry.name
        super().__init__(services, f"silence.registry.{name}", f"silence {name}", f"registries/{name}")

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch: at most four calls to Azure."""
        checks = ((AlarmKind.NO_SUBSCRIPTION, self._unsubscribed), (AlarmKind.SECRET_EXPIRES, self._expiring))
        for kind, check in checks:  # each by itself: an error of the vault must not hide missing events
            self._settle(run, (kind,), check())
        yield self._registry.name

    def _expiring(self) -> Iterator[Alarm]:
        """The expiry of the registry's secrets in the vault, and of its token if they are those of a token."""
        stem, now = self._registry.credentials, self._services.clock.now()
        if not stem:
            return
        expiries = [(f"the secret {stem}-user or {stem}-password", self._services.secrets.expiry(self._registry))]
        if self._registry.is_azure:
            user, _ = self._services.secrets.credentials(self._registry)
            expires_at = self._services.registry.token_expiry(self._registry, user, now)
            expiries.append((f"a password of its token {user}", expires_at))
        for what, expires_at in expiries:
            if expires_at is not None and expires_at - now < EXPIRY_WARNING:
                words = f"{self._registry.login_server}: {what} expires at {expires_at:%Y-%m-%d %H:%M} UTC"
                plan = f"create a new password, and store it as {stem}-password"
                yield self._alarm(AlarmKind.SECRET_EXPIRES, stem, words, plan)
                return

    def _unsubscribed(self) -> Iterator[Alarm]:
        """Events are expected of Azure registries that are the source of a gate."""
        sources = {gate.source.registry for gate in self._services.policy.gates.values()}
        if not self._registry.is_azure or self._registry.name not in sources:
            return
        if self._services.subscriptions.delivers_to_app(self._registry) is False:
            words = f"no event subscription of {self._registry.login_server} reaches this app"
            plan = "subscribe its ImagePushed events again; until then the sweep finds every push"
            yield self._alarm(AlarmKind.NO_SUBSCRIPTION, self._registry.name, words, plan)
