"""Keys in Key Vault's data plane: created, imported, and used to sign and verify.

The private key never leaves the vault. There is no HSM. A key signs only while it is enabled and within its dates, and
verifies after them too.
Sources: https://learn.microsoft.com/rest/api/keyvault/keys/operation-groups,
https://learn.microsoft.com/azure/key-vault/keys/about-keys-details#date-time-controlled-operations
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import msgspec
from aiohttp import web
from msgspec import field

from sandbox.arm.body import Body
from sandbox.arm.query import only
from sandbox.keyvault import crypto
from sandbox.keyvault.bundles import Attributes, attributes_of, version_id
from sandbox.keyvault.model import KeyVersion, Vault
from sandbox.keyvault.objects import ObjectStore
from sandbox.keyvault.operations import API_VERSIONS, ObjectOperations, check_name
from sandbox.keyvault.records import VaultRecords
from sandbox.web import Call, Fault, Surface, json_answer

_ALL_OPERATIONS = frozenset((*crypto.OPERATIONS["RSA"], "import"))


class KeyAttributes(Attributes, frozen=True):
    """The attributes of a key in a request. A key that may be exported needs a release policy, and an HSM."""

    exportable: bool | None = None
    hsm_platform: str | None = None


class _Changes(Body, frozen=True, kw_only=True):
    attributes: KeyAttributes = KeyAttributes()
    tags: dict[str, str] | None = None
    key_ops: list[str] | None = field(name="key_ops", default=None)

    def changes(self) -> dict[str, Any]:
        """The requested changes, by the field names of `KeyVersion`.

        Raises:
            Fault: 400 BadParameter for an operation that there is none of, or a key that may be exported.
        """
        if self.attributes.exportable:
            raise Fault(400, "BadParameter", "A key is exportable in a Managed HSM only, and the sandbox has none.")
        for name in self.key_ops or ():
            if name not in _ALL_OPERATIONS:
                raise Fault(400, "BadParameter", f"Property 'key_ops' has an invalid value: {name}")
        requested = {"tags": self.tags, "operations": self.key_ops}
        return self.attributes.changes() | {name: value for name, value in requested.items() if value is not None}


class _CreateBody(_Changes, frozen=True, kw_only=True):
    kty: str
    crv: str | None = None
    key_size: int | None = field(name="key_size", default=None)
    public_exponent: int | None = field(name="public_exponent", default=None)


class _Jwk(Body, frozen=True, kw_only=True):
    kty: str
    kid: str | None = None
    key_ops: list[str] | None = field(name="key_ops", default=None)
    crv: str | None = None
    x: str | None = None
    y: str | None = None
    n: str | None = None
    e: str | None = None
    d: str | None = None
    p: str | None = None
    q: str | None = None
    dp: str | None = None
    dq: str | None = None
    qi: str | None = None


class _ImportBody(Body, frozen=True, kw_only=True):
    key: _Jwk
    hsm: bool | None = field(name="Hsm", default=None)
    attributes: KeyAttributes = KeyAttributes()
    tags: dict[str, str] | None = None


class _SignBody(Body, frozen=True, kw_only=True):
    alg: str
    value: str


class _VerifyBody(Body, frozen=True, kw_only=True):
    alg: str
    digest: str
    value: str


class KeyOperations(ObjectOperations[KeyVersion]):
    """The operations on keys."""

    def __init__(self, vaults: VaultRecords, store: ObjectStore[KeyVersion]) -> None:
        super().__init__(vaults, store, "keys")

    def item(self, vault: Vault, name: str, version: KeyVersion) -> dict[str, Any]:
        """A version without the key itself."""
        item = {"kid": version_id(vault, "keys", name, version), "attributes": attributes_of(vault, version)}
        return item | ({"tags": version.tags} if version.tags else {})

    def shown(self, vault: Vault, name: str, version: KeyVersion) -> dict[str, Any]:
        """A version with its public key."""
        item = self.item(vault, name, version)
        jwk = {
            "kid": item.pop("kid"),
            "key_ops": version.operations,
            **crypto.public_jwk(crypto.loaded(version.private)),
        }
        return {"key": jwk, **item}

    def mount(self, surface: Surface) -> None:
        """Add the operations to the surface of the vaults."""
        for method, pattern, handler in (
            ("POST", "/keys/{name}/create", self._create),
            ("PUT", "/keys/{name}", self._import),
            ("GET", "/keys/{name}", self._get),
            ("GET", "/keys/{name}/", self._get),  # the SDKs send an empty version
            ("PATCH", "/keys/{name}", self._update),
            ("PATCH", "/keys/{name}/", self._update),
            ("POST", "/keys/{name}/{version}/sign", self._sign),
            ("POST", "/keys/{name}//sign", self._sign),
            ("POST", "/keys/{name}/{version}/verify", self._verify),
            ("POST", "/keys/{name}//verify", self._verify),
        ):
            surface.operation(method, pattern, versions=API_VERSIONS)(handler)
        self.mount_common(surface)
        for method, handler in (("GET", self._get), ("PATCH", self._update)):  # after `versions`, which is no version
            surface.operation(method, "/keys/{name}/{version}", versions=API_VERSIONS)(handler)

    def create(self, vault: Vault, name: str) -> str:
        """The id of the key of that name, an EC key on P-256 that is created if there is none."""
        there = [one.latest for one in self._store.all(vault.name) if one.name == name]
        version = there[0] if there else self._add(vault, name, crypto.generate("EC", "P-256", 0), {})
        return version_id(vault, "keys", name, version)

    async def _create(self, call: Call) -> web.StreamResponse:
        """Create an EC or RSA key, or another version of one. Keys in an HSM and symmetric keys are refused."""
        vault, body = self.enter(call, "create"), await call.body(_CreateBody)
        name, changes = call.params["name"], body.changes()
        key = await asyncio.to_thread(crypto.generate, body.kty, *_parameters(body))
        return json_answer(self.shown(vault, name, self._add(vault, name, key, changes)))

    async def _import(self, call: Call) -> web.StreamResponse:
        """Import a private key as a JSON Web Key."""
        vault, body = self.enter(call, "import"), await call.body(_ImportBody)
        if body.hsm or body.key.kty not in crypto.OPERATIONS:
            raise Fault(
                400, "BadParameter", f"The sandbox imports EC and RSA keys, no {body.key.kty} and none to an HSM."
            )
        changes = _Changes(attributes=body.attributes, tags=body.tags, key_ops=body.key.key_ops).changes()
        name, key = call.params["name"], await asyncio.to_thread(crypto.from_jwk, msgspec.to_builtins(body.key))
        return json_answer(self.shown(vault, name, self._add(vault, name, key, changes)))

    def _add(self, vault: Vault, name: str, key: crypto.PrivateKey, changes: dict[str, Any]) -> KeyVersion:
        check_name(name)
        kind, now = crypto.public_jwk(key)["kty"], int(time.time())
        usual: dict[str, Any] = {"operations": list(crypto.OPERATIONS[kind])}
        version = KeyVersion(
            version=secrets.token_hex(16),
            created=now,
            updated=now,
            kind=kind,
            private=crypto.stored(key),
            **(usual | changes),
        )
        return self._store.add(vault.name, name, version)

    async def _get(self, call: Call) -> web.StreamResponse:
        """The public part of a key's latest version, or of a given one."""
        only(call)
        vault, name = self.enter(call, "get"), call.params["name"]
        return json_answer(self.shown(vault, name, self._version(vault, call)))

    async def _update(self, call: Call) -> web.StreamResponse:
        """Change a version's attributes, permitted operations or tags."""
        vault, name, body = self.enter(call, "update"), call.params["name"], await call.body(_Changes)
        changed = msgspec.structs.replace(self._version(vault, call), updated=int(time.time()), **body.changes())
        return json_answer(self.shown(vault, name, self._store.replace(vault.name, name, changed)))

    async def _sign(self, call: Call) -> web.StreamResponse:
        """Sign a hash with ES256, ES384, ES512, RS256 to RS512 or PS256 to PS512."""
        vault, body = self.enter(call, "sign"), await call.body(_SignBody)
        version = self._usable(vault, call, "sign")
        signature = crypto.sign(crypto.loaded(version.private), body.alg, crypto.decoded(body.value, "value"))
        kid = version_id(vault, "keys", call.params["name"], version)
        return json_answer({"kid": kid, "value": crypto.encoded(signature)})

    async def _verify(self, call: Call) -> web.StreamResponse:
        """Verify the signature of a hash."""
        vault, body = self.enter(call, "verify"), await call.body(_VerifyBody)
        key = crypto.loaded(self._usable(vault, call, "verify").private)
        digest, signature = crypto.decoded(body.digest, "digest"), crypto.decoded(body.value, "value")
        return json_answer({"value": crypto.verify(key, body.alg, digest, signature)})

    def _version(self, vault: Vault, call: Call) -> KeyVersion:
        return self._store.version(vault.name, call.params["name"], call.params.get("version", ""))

    def _usable(self, vault: Vault, call: Call, operation: str) -> KeyVersion:
        """The version of a request, if it allows an operation now.

        Raises:
            Fault: 403 Forbidden that says why it does not.
        """
        version, now = self._version(vault, call), time.time()
        if operation not in version.operations:
            raise Fault(403, "Forbidden", f"Operation {operation} is not permitted on this key.")
        if not version.enabled:
            raise Fault(403, "Forbidden", f"Operation {operation} is not allowed on a disabled key.")
        if operation == "sign" and version.not_before is not None and now < version.not_before:
            raise Fault(403, "Forbidden", "Operation sign is not allowed on a key that is not yet valid.")
        if operation == "sign" and version.expires is not None and now >= version.expires:
            raise Fault(403, "Forbidden", "Operation sign is not allowed on an expired key.")
        return version


def _parameters(body: _CreateBody) -> tuple[str, int]:
    """The curve and the size of a key to create.

    Raises:
        Fault: 400 BadParameter for what the sandbox has not, by name.
    """
    if body.kty not in crypto.OPERATIONS:
        message = f"The sandbox creates keys of the types EC and RSA, not '{body.kty}': it has no HSM."
        raise Fault(400, "BadParameter", message)
    curve, size = body.crv or "P-256", body.key_size or crypto.RSA_SIZES[0]
    if body.kty == "EC" and curve not in crypto.CURVES:
        raise Fault(400, "BadParameter", f"The sandbox has the curves {', '.join(crypto.CURVES)}, not '{curve}'.")
    if body.kty == "RSA" and (size not in crypto.RSA_SIZES or body.public_exponent not in (None, 65537)):
        raise Fault(400, "BadParameter", f"An RSA key has {crypto.RSA_SIZES} bits and the exponent 65537.")
    return curve, size
