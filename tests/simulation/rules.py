"""The rules of a schedule, and how they change while work is in flight."""

from __future__ import annotations

from random import Random
from typing import Literal

import msgspec

from shared.checks.approval import ApprovalCheck
from shared.checks.scan import ScanCheck
from shared.checks.task import TaskCheck
from shared.domain.policy import (
    App,
    BaseRule,
    BuildRule,
    CheckRule,
    Gate,
    HealthRule,
    Policy,
    PromotionRule,
    ReferrerRule,
    RegistryRule,
    Source,
)
from shared.domain.targets.aci import AciRule
from shared.findings.model import Severity
from shared.findings.rules import Condition

PUBLIC, HUB, BASE, TEAM, OTHER = (f"{name}.azurecr.io" for name in ("public", "hub", "base", "team", "other"))
MAIN_TAG, SECOND_TAG = "15-alpine", "15.14"
PUSHING_TASK = "import-and-push"
REPORTING_TASK = "report"
_SCAN = "scan"
_REFERRERS: tuple[ReferrerRule, ...] = ("copy", "ignore", "ignore")
"""One gate in three copies what is attached upstream: it is one more work item for each promotion."""
_RESCAN = ScanCheck(
    registry="other",
    task=REPORTING_TASK,
    timeout="600s",
    fail_on=(Condition(severity=Severity.HIGH),),
    rescan="5m",
)


class Rules:
    """The policies of a schedule, by version number. A process keeps the version that it was started with.

    With `rescans` most versions of its gates scan, and scan promoted images again.
    """

    def __init__(self, random: Random, *, purges: bool = False, rescans: bool = False) -> None:
        self._random, self._purges, self._rescans = random, purges, rescans
        self.versions = [self._first()]
        self.changes = 0

    @property
    def number(self) -> int:
        """The current version."""
        return len(self.versions) - 1

    @property
    def now(self) -> Policy:
        """The current rules."""
        return self.versions[-1]

    def change(self) -> str:
        """Change something; returns what, "" if that is not possible now."""
        kind = self._random.choice(("checks", "base tag", "names", "gate", "app", "drift"))
        changed = getattr(self, f"_change_{kind.replace(' ', '_')}")(self.now)
        if changed is None or changed == self.now:
            return ""
        self.versions.append(changed)
        self.changes += 1
        return f"rules: {kind}"

    def settle(self) -> None:
        """Switch to rules with which everything can settle: all gates and apps exist, and drift is repaired."""
        first, now = self.versions[0], self.now
        names = {rule.login_server: name for name, rule in now.registries.items()}
        gates = {name: self._renamed_gate(now.gates.get(name, gate), names) for name, gate in first.gates.items()}
        apps = {name: self._renamed_app(now.apps.get(name, app), names) for name, app in first.apps.items()}
        self.versions.append(
            Policy(
                registries=now.registries,
                gates={name: msgspec.structs.replace(gate, drift="repair") for name, gate in gates.items()},
                apps={name: msgspec.structs.replace(app, drift="repair") for name, app in apps.items()},
            )
        )

    def _first(self) -> Policy:
        watched = self._random.choice((None, None, "10m"))
        registries = {
            "public": _registry("public", PUBLIC, watch=watched, per_minute=self._random.choice((None, None, 60))),
            "hub": RegistryRule(name="hub", server=HUB),
            **{name: _registry(name, server) for name, server in (("base", BASE), ("team", TEAM), ("other", OTHER))},
        }
        node = Gate(
            name="node",
            source=Source(registry="public", repository="node", tags=self._tags()),
            checks=self._checks(),
            promote=PromotionRule(registry="base", repository="node", lock=self._random.random() < 0.8),
            referrers=self._random.choice(_REFERRERS),
        )
        if self._random.random() < 0.15:
            node = msgspec.structs.replace(
                node,
                checks=(TaskCheck(registry="base", task=PUSHING_TASK, timeout="600s"),),
                promote=msgspec.structs.replace(node.promote, by="task", lock=False),
            )
        lts = Gate(
            name="lts",
            source=Source(registry="hub", repository="library/node", tags=("lts",)),
            checks=self._checks(),
            promote=PromotionRule(registry="base", repository=self._random.choice(("node", "lts"))),
            referrers=self._random.choice(_REFERRERS),
        )
        gates = {gate.name: self._purging(gate) for gate in (node, lts)}
        return Policy(registries=registries, gates=gates, apps=self._apps())

    def _purging(self, gate: Gate) -> Gate:
        """A gate with a rule that removes unique tags soon."""
        if not self._purges:
            return gate
        return msgspec.structs.replace(gate, promote=msgspec.structs.replace(gate.promote, keep="3m", at_least=1))

    def _tags(self) -> tuple[str, ...]:
        return self._random.choice(((MAIN_TAG, SECOND_TAG), (MAIN_TAG, "15.*"), ("15*",)))

    def _checks(self) -> tuple[CheckRule, ...]:
        first = TaskCheck(registry="base", task="import", timeout="600s")
        scan = TaskCheck(registry="other", task=_SCAN, timeout="600s")
        checks: tuple[CheckRule, ...] = self._random.choice(
            (
                (first,),
                (first,),
                (first, scan),
                (scan,),
                (ApprovalCheck(),),
                (ApprovalCheck(), first),
                (scan, ApprovalCheck()),
            )
        )
        return (*checks, _RESCAN) if self._rescans and self._random.random() < 0.9 else checks

    def _apps(self) -> dict[str, App]:
        output: Literal["listed", "by-tag"] = "by-tag" if self._random.random() < 0.2 else "listed"
        hello = App(
            name="hello",
            base=BaseRule(gate="node", tag=MAIN_TAG),
            build=BuildRule(registry="team", task="hello", image="hello:{run}", output=output),
            deploy=_deploy("hello"),
        )
        base = self._random.choice((BaseRule(gate="lts", tag="lts"), BaseRule(gate="node", tag=MAIN_TAG)))
        web = App(
            name="web",
            base=base,
            build=BuildRule(registry="team", task="web", image="web:{run}"),
            deploy=_deploy("web") if self._random.random() < 0.5 else None,
        )
        return {"hello": hello, "web": web} if self._random.random() < 0.6 else {"hello": hello}

    def _change_checks(self, policy: Policy) -> Policy | None:
        gate = policy.gates.get(self._random.choice(("node", "lts")))
        if gate is None or gate.promote.by == "task":
            return None
        return _with_gate(policy, msgspec.structs.replace(gate, checks=self._checks_named(policy)))

    def _checks_named(self, policy: Policy) -> tuple[CheckRule, ...]:
        names = {rule.login_server: name for name, rule in policy.registries.items()}
        return tuple(_renamed_check(check, names) for check in self._checks())

    def _change_base_tag(self, policy: Policy) -> Policy | None:
        app = policy.apps.get("hello")
        if app is None:
            return None
        tag = SECOND_TAG if app.base.tag == MAIN_TAG else MAIN_TAG
        moved = msgspec.structs.replace(app, base=BaseRule(gate="node", tag=tag))
        return msgspec.structs.replace(policy, apps={**policy.apps, "hello": moved})

    def _change_names(self, policy: Policy) -> Policy:
        """Rename two registries; their login servers stay the same."""
        names = {
            rule.login_server: f"{rule.login_server.partition('.')[0]}-{self._random.randrange(100)}"
            if rule.login_server in (PUBLIC, BASE)
            else name
            for name, rule in policy.registries.items()
        }
        registries = {
            names[rule.login_server]: msgspec.structs.replace(rule, name=names[rule.login_server])
            for rule in policy.registries.values()
        }
        short = {name: names[rule.login_server] for name, rule in policy.registries.items()}
        gates = {name: _rename_gate(gate, short) for name, gate in policy.gates.items()}
        apps = {name: _rename_app(app, short) for name, app in policy.apps.items()}
        return Policy(registries=registries, gates=gates, apps=apps)

    def _renamed_gate(self, gate: Gate, names: dict[str, str]) -> Gate:
        return _rename_gate(gate, _short_names(self.versions, names))

    def _renamed_app(self, app: App, names: dict[str, str]) -> App:
        return _rename_app(app, _short_names(self.versions, names))

    def _change_gate(self, policy: Policy) -> Policy | None:
        """Remove a gate with the apps on it, or add it again as it was first."""
        names = {rule.login_server: name for name, rule in policy.registries.items()}
        for name, gate in self.versions[0].gates.items():
            if name not in policy.gates:
                return _with_gate(policy, self._renamed_gate(gate, names))
        gone = self._random.choice(list(policy.gates))
        gates = {name: gate for name, gate in policy.gates.items() if name != gone}
        apps = {name: app for name, app in policy.apps.items() if app.base.gate != gone}
        return msgspec.structs.replace(policy, gates=gates, apps=apps)

    def _change_app(self, policy: Policy) -> Policy | None:
        names = {rule.login_server: name for name, rule in policy.registries.items()}
        for name, app in self.versions[0].apps.items():
            if name not in policy.apps and app.base.gate in policy.gates:
                return msgspec.structs.replace(policy, apps={**policy.apps, name: self._renamed_app(app, names)})
        return msgspec.structs.replace(policy, apps={name: app for name, app in policy.apps.items() if name != "hello"})

    def _change_drift(self, policy: Policy) -> Policy | None:
        gate = policy.gates.get("node")
        if gate is None:
            return None
        return _with_gate(policy, msgspec.structs.replace(gate, drift=self._random.choice(("report", "repair"))))


def scans_again(gate: Gate) -> bool:
    """Whether a gate scans promoted images again."""
    return _RESCAN.kind in {check.kind for check in gate.checks}


def _registry(name: str, server: str, *, watch: str | None = None, per_minute: int | None = None) -> RegistryRule:
    identifier = f"/subscriptions/0/resourceGroups/rg/providers/Microsoft.ContainerRegistry/registries/{name}"
    return RegistryRule(
        name=name,
        server=server,
        id=identifier,
        credentials="public" if name == "public" else None,
        interval=watch,
        requests_per_minute=per_minute,
    )


def _deploy(name: str) -> AciRule:
    return AciRule(name=f"{name}-aci", resource_group="rg", subscription="0", health=HealthRule(within="10s"))


def _with_gate(policy: Policy, gate: Gate) -> Policy:
    return msgspec.structs.replace(policy, gates={**policy.gates, gate.name: gate})


def _short_names(versions: list[Policy], names: dict[str, str]) -> dict[str, str]:
    """From every short name of any version to the current one."""
    return {name: names[rule.login_server] for policy in versions for name, rule in policy.registries.items()}


def _renamed_check(check: CheckRule, names: dict[str, str]) -> CheckRule:
    if not isinstance(check, TaskCheck | ScanCheck):
        return check
    server = f"{check.registry.partition('-')[0]}.azurecr.io"
    return msgspec.structs.replace(check, registry=names[server])


def _rename_gate(gate: Gate, short: dict[str, str]) -> Gate:
    checks = [
        msgspec.structs.replace(check, registry=short[check.registry])
        if isinstance(check, TaskCheck | ScanCheck)
        else check
        for check in gate.checks
    ]
    return msgspec.structs.replace(
        gate,
        source=msgspec.structs.replace(gate.source, registry=short[gate.source.registry]),
        promote=msgspec.structs.replace(gate.promote, registry=short[gate.promote.registry]),
        checks=tuple(checks),
    )


def _rename_app(app: App, short: dict[str, str]) -> App:
    return msgspec.structs.replace(app, build=msgspec.structs.replace(app.build, registry=short[app.build.registry]))
