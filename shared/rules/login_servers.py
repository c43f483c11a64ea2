"""The login servers of the Azure registries in the rules, read from Azure unless the rules name them.

They cannot be derived from the names: with a domain name label the server is `<name>-<hash>.azurecr.io`, and other
clouds have other domains. Each is read once and cached in the ledger, so that a new process can start while Azure
Resource Manager is unavailable.
"""

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Lock

from msgspec.structs import replace

from shared.domain.errors import BasegateError, Misconfigured, Rejected, Retry
from shared.domain.policy import Policy, RegistryRule
from shared.domain.record import Row
from shared.ports import Ledger, Registry

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0
"""How long a caller waits for Azure; a later response is used by the next caller."""

_PARTITION = "login-server"


class LoginServer(Row, frozen=True, kw_only=True):
    """The login server of an Azure registry; `registry` is its resource id in lower case, without slashes."""

    one_partition, key_fields = _PARTITION, ("registry", "registry")

    registry: str
    server: str


class LoginServers:
    """Completes a policy, once, with the login servers that the rules do not name."""

    def __init__(self, policy: Policy, ledger: Ledger, registry: Registry) -> None:
        self._policy, self._ledger, self._registry = policy, ledger, registry
        self._unnamed = [rule for rule in policy.registries.values() if rule.is_azure and not rule.server]
        self._named: Policy | None = None if self._unnamed else policy
        self._asked, self._asking = Future[Policy](), Lock()
        self._asked.cancel()

    def policy(self) -> Policy:
        """The completed policy.

        If the app may not read a registry in Azure, its server is derived from its name; `readyz` shows a warning.

        Raises:
            Retry: Azure is unavailable. Nothing is derived then: the name may belong to another customer.
        """
        if self._named is None:
            with self._asking:
                if self._asked.cancelled() or (self._asked.done() and self._asked.exception()):
                    pool = ThreadPoolExecutor(1, thread_name_prefix="login-servers")
                    self._asked = pool.submit(self._complete)
                    pool.shutdown(wait=False)
            try:
                self._named = self._asked.result(PATIENCE_SECONDS)
            except TimeoutError:
                raise Retry("the login servers of the registries could not be read from Azure in time") from None
        return self._named

    def _complete(self) -> Policy:
        known = dict[str, str]()
        with suppress(BasegateError):  # the ledger is unavailable: read them from Azure again
            known = {one.record.registry: one.record.server for one in self._ledger.list(LoginServer, _PARTITION)}
        named = {rule.name: replace(rule, server=known.get(_key(rule)) or self._ask(rule)) for rule in self._unnamed}
        return replace(self._policy, registries={**self._policy.registries, **named})

    def _ask(self, rule: RegistryRule) -> str:
        try:
            server = self._registry.login_server(rule)
        except (Misconfigured, Rejected) as rejection:
            log.warning(
                "the login server of registry %s is assumed to be %s: %s", rule.name, rule.login_server, rejection
            )
            return rule.login_server
        with suppress(BasegateError):
            self._ledger.insert(LoginServer(registry=_key(rule), server=server))
        return server


def _key(rule: RegistryRule) -> str:
    return (rule.id or "").lower().replace("/", "|")
