"""Checks access to a vault's secrets and keys, and changes its access policies.

Under RBAC, every token of the sandbox has full access, because role assignments are recorded and not enforced; under
access policies, the caller's object id must have the permission.
Source: https://learn.microsoft.com/azure/key-vault/general/assign-access-policy
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.identity import SYSTEM_PRINCIPAL_ID
from sandbox.instance import TENANT
from sandbox.keyvault.model import AccessPolicy, Permissions, Vault
from sandbox.web import Fault


def check_access(vault: Vault, claims: Mapping[str, Any], permission: str, kind: str = "secrets") -> None:
    """Refuse a caller without a permission (`get`, `list`, `set`, `delete`, `sign`, …) on `secrets` or `keys`.

    Raises:
        Fault: 403 Forbidden that names the caller, the permission and the vault.
    """
    if vault.properties.enable_rbac_authorization:
        return
    caller = str(claims.get("oid", ""))
    for policy in vault.properties.access_policies:
        granted = {item.lower() for item in getattr(policy.permissions, kind)}
        if policy.object_id.lower() == caller.lower() and granted & {permission, "all"}:
            return
    message = (
        f"The user, group or application 'appid={claims.get('appid', '')};oid={caller};iss={claims.get('iss', '')}' "
        f"does not have {kind} {permission} permission on key vault '{vault.name};location={vault.location}'."
    )
    raise Fault(403, "Forbidden", message)


def creator_policy() -> AccessPolicy:
    """Full access for the sandbox's own identity, as `az keyvault create` grants its caller."""
    everything = Permissions(keys=["all"], secrets=["all"], certificates=["all"], storage=["all"])
    return AccessPolicy(tenant_id=TENANT, object_id=SYSTEM_PRINCIPAL_ID, permissions=everything)


def merge_policies(kind: str, current: list[AccessPolicy], given: list[AccessPolicy]) -> list[AccessPolicy]:
    """The policies after an `add` (permissions merged), `replace` (entry by entry) or `remove` (permissions removed).

    Raises:
        Fault: 400 for any other kind.
    """
    merged = {_principal(policy): policy for policy in current}
    for policy in given:
        old = merged.get(_principal(policy))
        match kind.lower():
            case "add":
                merged[_principal(policy)] = _joined(old, policy) if old else policy
            case "replace":
                merged[_principal(policy)] = policy
            case "remove":
                merged.pop(_principal(policy), None)
                if old and (left := _taken(old, policy)):
                    merged[_principal(policy)] = left
            case _:
                raise Fault(400, "BadRequest", f"'{kind}' is not one of add, replace, remove.")
    return list(merged.values())


def _principal(policy: AccessPolicy) -> tuple[str, str]:
    return policy.object_id.lower(), (policy.application_id or "").lower()


def _joined(old: AccessPolicy, new: AccessPolicy) -> AccessPolicy:
    pairs = zip(_lists(old.permissions), _lists(new.permissions), strict=True)
    permissions = Permissions(*(sorted({*before, *added}) for before, added in pairs))
    return AccessPolicy(old.tenant_id, old.object_id, permissions, old.application_id)


def _taken(old: AccessPolicy, new: AccessPolicy) -> AccessPolicy | None:
    pairs = zip(_lists(old.permissions), _lists(new.permissions), strict=True)
    permissions = Permissions(*(sorted({*before} - {*taken}) for before, taken in pairs))
    if not any(_lists(permissions)):
        return None
    return AccessPolicy(old.tenant_id, old.object_id, permissions, old.application_id)


def _lists(permissions: Permissions) -> tuple[list[str], ...]:
    return permissions.keys, permissions.secrets, permissions.certificates, permissions.storage
