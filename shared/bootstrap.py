"""The composition root: the settings, the adapters, and the services that use them.

Everything is imported on first use: indexing the functions imports none of it, and the event path no SDK.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from shared.interface import resolve
from shared.settings import APP_ROOT, Settings, read_settings

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

    from shared.adapters.secrets_keyvault import VaultCredentials
    from shared.domain.policy import Policy
    from shared.health import HealthChecks
    from shared.intake.hints import Hints, Recognized
    from shared.operations.idempotency import IdempotentCalls
    from shared.operations.operate import Operate
    from shared.ports import Announcer, Services, Signer
    from shared.queries.drift import DriftQuery
    from shared.queries.findings import ScanFindings
    from shared.queries.records import Queries, RunLogs
    from shared.reconcile.engine import Reconciler
    from shared.sweep.sweep import Sweep

_creating = Lock()


class SystemClock:
    """Implements the port `Clock`."""

    def now(self) -> datetime:
        """The time now, in UTC."""
        return datetime.now(UTC)


def _lazy(reference: str) -> Any:
    """A property of the class that `module:attribute` names, imported and constructed on first use."""
    return cached_property(lambda app: resolve(reference)(app.services))


class Basegate:
    """The app."""

    reconciler: Reconciler = _lazy("shared.reconcile.engine:Reconciler")
    sweep: Sweep = _lazy("shared.sweep.sweep:Sweep")
    operate: Operate = _lazy("shared.operations.operate:Operate")
    calls: IdempotentCalls = _lazy("shared.operations.idempotency:IdempotentCalls")
    queries: Queries = _lazy("shared.queries.records:Queries")
    logs: RunLogs = _lazy("shared.queries.records:RunLogs")
    findings: ScanFindings = _lazy("shared.queries.findings:ScanFindings")
    drift: DriftQuery = _lazy("shared.queries.drift:DriftQuery")
    health: HealthChecks = _lazy("shared.health:HealthChecks")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def policy(self) -> Policy:
        """The rules.

        Raises:
            Misconfigured: the file is missing or invalid.
        """
        from shared.domain.errors import Misconfigured
        from shared.rules import parse_gates

        file = APP_ROOT / self.settings.gates
        try:
            signs_in = self.settings.sign_in != "keys"
            return parse_gates(file.read_text(encoding="utf-8"), file.name, signs_in=signs_in)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            problem = f"the rules {self.settings.gates} cannot be read ({why}): set BASEGATE_GATES"
            raise Misconfigured(problem) from error

    @cached_property
    def services(self) -> Services:
        """The ports with their adapters."""
        from shared.adapters.containers_aci import AciContainerRunner
        from shared.adapters.ledger_tables import TableLedger
        from shared.adapters.oci import OciReferrers, OciTagReader
        from shared.adapters.plain_http import HttpProbe
        from shared.adapters.registry_acr import AcrRegistry
        from shared.adapters.secrets_keyvault import VaultCredentials
        from shared.adapters.storage import BlobArchive, StorageWorkQueue
        from shared.adapters.subscriptions_eventgrid import EventGridSubscriptions
        from shared.adapters.tasks_acr import AcrTaskRunner
        from shared.domain.targets.aci import AciRule
        from shared.ports import Services
        from shared.rules.login_servers import LoginServers
        from shared.telemetry import meter_of

        secrets = VaultCredentials(self.settings.key_vault, credential)
        ledger, registry = TableLedger(self._endpoint("table"), credential), AcrRegistry(credential, secrets)
        tags = OciTagReader(secrets, credential)
        return Services(
            rules=LoginServers(self.policy, ledger, registry).policy,
            ledger=ledger,
            queue=StorageWorkQueue(self._endpoint("queue"), credential),
            registry=registry,
            tags=tags,
            referrers=OciReferrers(tags),
            tasks=AcrTaskRunner(credential, secrets),
            targets={AciRule.kind: AciContainerRunner(credential, secrets)},
            probe=HttpProbe(),
            archive=BlobArchive(self._endpoint("blob"), credential),
            listeners=self._listeners(secrets),
            clock=SystemClock(),
            secrets=secrets,
            subscriptions=EventGridSubscriptions(credential, self.settings.site),
            keep=timedelta(days=self.settings.keep_days),
            signer=self._signer(),
            meter=meter_of(self.settings),
            url=self.settings.public_url,
        )

    def recognize(self, payload: object) -> list[Recognized]:
        """The hints of an event."""
        from shared.intake.hints import recognize

        return recognize(payload, self.policy)

    @cached_property
    def hints(self) -> Hints:
        """Handles hints."""
        from shared.domain.event import HintKind
        from shared.intake.hints import AppImages, Hints

        others = {
            HintKind.APP_IMAGE: AppImages(self.services).handle,
            HintKind.STABLE_TAGS: self.sweep.check_stable_tags,
        }
        return Hints(self.services, self.reconciler.work, others)

    def _signer(self) -> Signer | None:
        if not self.settings.signing_key:
            return None
        from shared.adapters.signing_keyvault import VaultSigner

        return VaultSigner(self.settings.signing_key, credential)

    def _listeners(self, secrets: VaultCredentials) -> dict[str, Announcer]:
        from shared.adapters import listeners
        from shared.adapters.listeners.kind import LinkingAnnouncer

        values, url = self.settings.listeners, self.settings.public_url
        used = (kind for kind in listeners.KINDS if kind.settings[0] in values)
        return {kind.name: LinkingAnnouncer(url, kind(values, credential, secrets.read)) for kind in used}

    def _endpoint(self, service: str) -> str:
        return f"https://{self.settings.storage_account}.{service}.{self.settings.storage_suffix}"


@lru_cache(maxsize=1)
def credential() -> TokenCredential:
    """The app's identity, created on first use and shared by all clients of this process."""
    from azure.identity import DefaultAzureCredential

    from shared.adapters.azure_calls import TOKEN_DEADLINES

    return DefaultAzureCredential(**TOKEN_DEADLINES)


def basegate() -> Basegate:
    """The app of this process.

    Raises:
        Misconfigured: the settings are invalid; nothing is cached, so the next call reads them again.
    """
    with _creating:  # the first messages of a cold start arrive on many threads at once
        return _basegate()


@lru_cache(maxsize=1)
def _basegate() -> Basegate:
    from shared.adapters import listeners
    from shared.telemetry import configure_telemetry

    settings = read_settings(plug_ins=listeners.KINDS)
    configure_telemetry(settings)
    return Basegate(settings)
