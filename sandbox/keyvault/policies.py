"""Changing a vault's access policies entry by entry, as `accessPolicies/{add|replace|remove}` does.

Source: https://learn.microsoft.com/rest/api/keyvault/keyvault/vaults/update-access-policy
"""

from __future__ import annotations

from sandbox.keyvault.model import AccessPolicy, Permissions
from sandbox.web import Fault


def merge_policies(kind: str, kept: list[AccessPolicy], given: list[AccessPolicy]) -> list[AccessPolicy]:
    """The policies after an `add` (permissions joined), `replace` (entry by entry) or `remove` (permissions taken).

    Raises:
        Fault: 400 for any other kind.
    """
    merged = {_principal(policy): policy for policy in kept}
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
