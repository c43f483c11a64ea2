"""From settings to adapters to workflows: the one place that knows both sides. Lazy: nothing happens at import."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property, lru_cache
from threading import Lock
from typing import TYPE_CHECKING

from shared.domain.errors import Misconfigured
from shared.domain.event import HintKind
from shared.domain.policy import Policy
from shared.health import HealthChecks
from shared.intake.hints import AppImages, Hints, Recognized, recognize
from shared.operations.idempotency import IdempotentCalls
from shared.operations.operate import Operate
from shared.ports import Announcer, Services
from shared.queries.drift import DriftQuery
from shared.queries.records import Queries
from shared.queries.run_logs import RunLogs
from shared.reconcile.engine import Reconciler
from shared.rules import parse_gates
from shared.rules.login_servers import LoginServers
from shared.settings import APP_ROOT, Settings, read_settings
from shared.sweep.sweep import Sweep

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

    from shared.adapters.secrets_keyvault import VaultCredentials

_making = Lock()


class Basegate:
    """The app, put together. Adapters, and the SDKs with them, are imported on first use: the event path needs none."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def policy(self) -> Policy:
        """The rules.

        Raises:
            Misconfigured: the file is missing or has faults.
        """
        file = APP_ROOT / self.settings.gates
        try:
            signs_in = self.settings.sign_in != "keys"
            return parse_gates(file.read_text(encoding="utf-8"), file.name, signs_in=signs_in)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            raise Misconfigured(
                f"the rules {self.settings.gates} cannot be read ({why}): set BASEGATE_GATES"
            ) from error

    @cached_property
    def services(self) -> Services:
        """The ports, fulfilled."""
        from shared.adapters.archive_blobs import BlobArchive
        from shared.adapters.clock_system import SystemClock
        from shared.adapters.containers_aci import AciContainerRunner, HttpProbe
        from shared.adapters.ledger_tables import TableLedger
        from shared.adapters.oci import OciTagReader
        from shared.adapters.queue_storage import StorageWorkQueue
        from shared.adapters.registry_acr import AcrRegistry
        from shared.adapters.secrets_keyvault import VaultCredentials
        from shared.adapters.subscriptions_eventgrid import EventGridSubscriptions
        from shared.adapters.tasks_acr import AcrTaskRunner

        secrets = VaultCredentials(self.settings.key_vault, credential)
        ledger, registry = TableLedger(self._endpoint("table"), credential), AcrRegistry(credential, secrets)
        return Services(
            rules=LoginServers(self.policy, ledger, registry).policy,
            ledger=ledger,
            queue=StorageWorkQueue(self._endpoint("queue"), credential),
            registry=registry,
            tags=OciTagReader(secrets, credential),
            tasks=AcrTaskRunner(credential, secrets),
            containers=AciContainerRunner(credential, secrets),
            probe=HttpProbe(),
            archive=BlobArchive(self._endpoint("blob"), credential),
            listeners=self._listeners(secrets),
            clock=SystemClock(),
            secrets=secrets,
            subscriptions=EventGridSubscriptions(credential, self.settings.site),
            keep=timedelta(days=self.settings.keep_days),
        )

    def recognize(self, payload: object) -> list[Recognized]:
        """Where an event says to look."""
        return recognize(payload, self.policy)

    @cached_property
    def reconciler(self) -> Reconciler:
        """Takes records from step to step."""
        return Reconciler(self.services)

    @cached_property
    def hints(self) -> Hints:
        """Looks where events say."""
        others = {
            HintKind.APP_IMAGE: AppImages(self.services).handle,
            HintKind.STABLE_TAGS: self.sweep.check_stable_tags,
        }
        return Hints(self.services, self.reconciler.work, others)

    @cached_property
    def sweep(self) -> Sweep:
        """Finds and repairs drift that no event reported."""
        return Sweep(self.services)

    @cached_property
    def operate(self) -> Operate:
        """What operators do."""
        return Operate(self.services)

    @cached_property
    def calls(self) -> IdempotentCalls:
        """Answers repeats of acting calls."""
        return IdempotentCalls(self.services)

    @cached_property
    def queries(self) -> Queries:
        """What operators read."""
        return Queries(self.services)

    @cached_property
    def logs(self) -> RunLogs:
        """Reads the logs of checks and builds."""
        return RunLogs(self.services)

    @cached_property
    def drift(self) -> DriftQuery:
        """What the sweeps saw."""
        return DriftQuery(self.services)

    @cached_property
    def health(self) -> HealthChecks:
        """Asks everything that the rules need."""
        return HealthChecks(self.services)

    def _listeners(self, secrets: VaultCredentials) -> dict[str, Announcer]:
        from shared.adapters.announcers import EventGridAnnouncer, LinkingAnnouncer, WebhookAnnouncer

        settings, listeners = self.settings, dict[str, Announcer]()
        if settings.announce_topic:
            listeners["topic"] = EventGridAnnouncer(settings.announce_topic, credential)
        if settings.webhook_url:
            name = settings.webhook_secret
            signing = (lambda: secrets.read(name)) if name else (lambda: "")
            listeners["webhook"] = WebhookAnnouncer(settings.webhook_url, settings.webhook_style, signing)
        return {name: LinkingAnnouncer(settings.public_url, one) for name, one in listeners.items()}

    def _endpoint(self, service: str) -> str:
        return f"https://{self.settings.storage_account}.{service}.{self.settings.storage_suffix}"


@lru_cache(maxsize=1)
def credential() -> TokenCredential:
    """The app's identity, made on first use and shared by every client of this process."""
    from azure.identity import DefaultAzureCredential

    from shared.adapters.azure_calls import TOKEN_DEADLINES

    return DefaultAzureCredential(**TOKEN_DEADLINES)


def basegate() -> Basegate:
    """The app of this process.

    Raises:
        Misconfigured: the settings are not right; nothing is kept, so the next call reads them again.
    """
    with _making:  # the first messages of a cold start come on many threads at once
        return _basegate()


@lru_cache(maxsize=1)
def _basegate() -> Basegate:
    from shared.telemetry import configure_telemetry

    settings = read_settings()
    configure_telemetry(settings)
    return Basegate(settings)
