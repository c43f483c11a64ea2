"""Where the Azure registries of the rules are: their login servers, as Azure says, unless the rules do.

The name of a registry does not tell: with a domain name label its server is `<name>-<hash>.azurecr.io`, and other
clouds have other domains. What Azure says is asked for once and kept in the ledger, so that a new process needs no
Azure Resource Manager to begin.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress

from msgspec.structs import replace

from shared.domain.errors import BasegateError, Misconfigured, Rejected
from shared.domain.policy import Policy, RegistryRule
from shared.domain.record import Row
from shared.ports import Ledger, Registry

log = logging.getLogger(__name__)

_PARTITION = "login-server"


class LoginServer(Row, frozen=True, kw_only=True):
    """The login server of an Azure registry; `registry` is its resource id in lower case, without slashes."""

    key_fields = ("kind", "registry")

    registry: str
    server: str
    kind: str = _PARTITION


def with_login_servers(policy: Policy, ledger: Ledger, registry: Registry) -> Policy:
    """The policy, with the login server of every Azure registry for which the rules write none.

    Where the app may not read a registry in Azure, its name is believed; `readyz` says so.

    Raises:
        Retry: Azure cannot be asked now, and was not asked before.
    """
    unnamed = {name: rule for name, rule in policy.registries.items() if rule.is_azure and not rule.server}
    if not unnamed:
        return policy
    known = dict[str, str]()
    with suppress(BasegateError):  # the ledger is away: Azure is asked again
        known = {one.record.registry: one.record.server for one in ledger.list(LoginServer, _PARTITION)}
    found = {name: _server_of(rule, known, ledger, registry) for name, rule in unnamed.items()}
    named = {name: replace(rule, server=found.get(name, rule.server)) for name, rule in policy.registries.items()}
    return replace(policy, registries=named)


def _server_of(rule: RegistryRule, known: Mapping[str, str], ledger: Ledger, registry: Registry) -> str:
    key = (rule.id or "").lower().replace("/", "|")
    if key in known:
        return known[key]
    try:
        server = registry.login_server(rule)
    except (Misconfigured, Rejected) as refusal:
        log.warning("the login server of registry %s is taken to be %s: %s", rule.name, rule.login_server, refusal)
        return rule.login_server
    with suppress(BasegateError):
        ledger.insert(LoginServer(registry=key, server=server))
    return server
