"""The registries a run signs in to, and the secrets it may read."""

from __future__ import annotations

from collections.abc import Iterable

from sandbox.engine.contract import Login
from sandbox.tasks.ports import Registries, Vaults
from sandbox.tasks.records import RunRecord
from sandbox.tasks.requests import CustomRegistry, Identity, SecretObject
from sandbox.tasks.taskfile.model import SecretReference
from sandbox.web import Fault

_SYSTEM = ("[system]", "system")


class Logins:
    """Gathers a run's credentials, with the permissions of its task's identities."""

    def __init__(self, registries: Registries, vaults: Vaults) -> None:
        self._registries, self._vaults = registries, vaults

    def gather(self, run: RunRecord) -> dict[str, Login]:
        """The logins by login server: the run's own registry with full access, and the custom registries.

        Raises:
            Fault: a secret cannot be resolved, or an identity is not assigned to the task.
        """
        assert run.work is not None
        credentials = run.work.credentials
        source = credentials.source_registry if credentials else None
        logins: dict[str, Login] = {}
        if source is None or source.login_mode != "None":
            logins[run.login_server] = self._issue(run.login_server, _own_actor(run))
        custom = (credentials.custom_registries if credentials else None) or {}
        for server, entry in custom.items():
            if entry is not None:
                logins[server] = self._custom(server, entry, run)
        return logins

    def secrets(self, run: RunRecord, references: Iterable[SecretReference]) -> dict[str, str]:
        """The values of the secrets a task file declares, by id.

        Raises:
            Fault: a secret cannot be resolved.
        """
        assert run.work is not None
        values = {}
        for reference in references:
            reader = _principal(run.work.identity, reference.client_id or "system", f"the secret '{reference.id}'")
            values[reference.id] = self._read(reference.keyvault, reader)
        return values

    def _custom(self, server: str, entry: CustomRegistry, run: RunRecord) -> Login:
        assert run.work is not None
        identity = run.work.identity
        if entry.user_name is None and entry.password is None:
            return self._issue(server, _principal(identity, entry.identity, f"the registry '{server}'"))
        if entry.user_name is None or entry.password is None:
            raise Fault(400, "InvalidCredentials", f"The credentials of '{server}' lack a user name or a password.")
        reader = None
        if "Vaultsecret" in (entry.user_name.type, entry.password.type):
            reader = _principal(identity, entry.identity, f"the secrets of '{server}'")
        return Login(self._resolve(entry.user_name, reader), self._resolve(entry.password, reader))

    def _resolve(self, secret: SecretObject, reader: str | None) -> str:
        value = secret.value or ""
        return self._read(value, reader) if secret.type == "Vaultsecret" else value

    def _read(self, url: str, reader: str | None) -> str:
        try:
            return self._vaults.read(url, principal_id=reader)
        except Fault as fault:
            raise Fault(fault.status, fault.code, f"failed to resolve secrets: {fault.message}") from fault

    def _issue(self, server: str, actor: str) -> Login:
        if self._registries.find(server) is None:
            raise Fault(404, "RegistryNotFound", f"There is no registry '{server}' that an identity can sign in to.")
        return Login(*self._registries.issue_login(server, actor=actor, repositories=None))


def _own_actor(run: RunRecord) -> str:
    identity = run.work.identity if run.work else None
    return (identity.principal_id if identity else None) or f"{run.registry}/tasks/{run.task or run.id}"


def _principal(identity: Identity | None, named: str | None, purpose: str) -> str:
    """The principal id for `[system]` or a client id."""
    if named in _SYSTEM:
        if identity is None or identity.principal_id is None:
            raise Fault(400, "IdentityNotFound", f"The task has no system-assigned identity to reach {purpose} with.")
        return identity.principal_id
    for user in ((identity and identity.user_assigned_identities) or {}).values():
        if named and user and user.principal_id and user.client_id == named.lower():
            return user.principal_id
    missing = f"the identity '{named}'" if named else "an identity"
    raise Fault(400, "IdentityNotFound", f"The task lacks {missing} to reach {purpose} with.")
