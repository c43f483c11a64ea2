"""The usage of a registry, against what Azure allows its SKU."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from sandbox.registry.accounts import Accounts
from sandbox.registry.arm.limits import LIMITS
from sandbox.registry.arm.registries import REGISTRY, RegistryControl
from sandbox.registry.records import API_VERSIONS, ReplicationRecord
from sandbox.registry.registry import Registry
from sandbox.registry.webhooks import Webhooks
from sandbox.store import Collection
from sandbox.web import Call, Surface, json_answer


class UsageControl:
    """The listUsages operation.

    Args:
        control: finds the registry of a call.
        at: returns the running registry of a host name.
        accounts: has the tokens and scope maps.
        webhooks: all webhooks.
        replications: all replications.
    """

    def __init__(
        self,
        control: RegistryControl,
        at: Callable[[str], Registry],
        accounts: Accounts,
        webhooks: Webhooks,
        replications: Collection[ReplicationRecord],
    ) -> None:
        self._control, self._at, self._accounts = control, at, accounts
        self._webhooks, self._replications = webhooks, replications

    def mount(self, arm: Surface) -> None:
        """Add the operation to the ARM surface."""
        arm.operation("GET", REGISTRY + "/listUsages", versions=API_VERSIONS)(self._list)

    async def _list(self, call: Call) -> web.StreamResponse:
        """The size of a registry, and how many webhooks, replications, rules, tokens and scope maps it has."""
        record = self._control.require(call)
        limits, inside = LIMITS[record.sku], f"{record.name}/"
        rules = record.settings.get("networkRuleSet", {}).get("ipRules", [])
        counts = (
            ("Webhooks", limits.webhooks, len(list(self._webhooks.of(record.name)))),
            ("Geo-replications", limits.replications, len(list(self._replications.values(inside)))),
            ("IPRules", limits.rules, len(rules)),
            ("VNetRules", limits.rules, 0),
            ("ScopeMaps", limits.tokens, len(list(self._accounts.scope_maps.values(inside)))),
            ("Tokens", limits.tokens, len(list(self._accounts.tokens.values(inside)))),
        )
        size = self._at(record.login_server).layout.size()
        usages = [{"name": "Size", "limit": limits.size, "currentValue": size, "unit": "Bytes"}]
        usages += [{"name": n, "limit": most, "currentValue": now, "unit": "Count"} for n, most, now in counts]
        return json_answer({"value": usages})
