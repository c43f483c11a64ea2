"""Who may do what with a vault's secrets.

Under RBAC every token of the sandbox may do everything, as role assignments are recorded and not enforced; under
access policies the caller's object id must have the permission.
Source: https://learn.microsoft.com/azure/key-vault/general/assign-access-policy
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.identity import SYSTEM_PRINCIPAL_ID
from sandbox.instance import TENANT
from sandbox.keyvault.model import AccessPolicy, Permissions, Vault
from sandbox.web import Fault


def check_access(vault: Vault, claims: Mapping[str, Any], permission: str) -> None:
    """Refuse a caller without a permission on secrets (`get`, `list`, `set`, `delete`, `recover`, `purge`).

    Raises:
        Fault: 403 Forbidden that names the caller, the permission and the vault.
    """
    if vault.properties.enable_rbac_authorization:
        return
    caller = str(claims.get("oid", ""))
    for policy in vault.properties.access_policies:
        granted = {item.lower() for item in policy.permissions.secrets}
        if policy.object_id.lower() == caller.lower() and granted & {permission, "all"}:
            return
    message = (
        f"The user, group or application 'appid={claims.get('appid', '')};oid={caller};iss={claims.get('iss', '')}' "
        f"does not have secrets {permission} permission on key vault '{vault.name};location={vault.location}'."
    )
    raise Fault(403, "Forbidden", message)


def creator_policy() -> AccessPolicy:
    """Full access for the sandbox's own identity, as `az keyvault create` gives its caller."""
    everything = Permissions(keys=["all"], secrets=["all"], certificates=["all"], storage=["all"])
    return AccessPolicy(tenant_id=TENANT, object_id=SYSTEM_PRINCIPAL_ID, permissions=everything)
