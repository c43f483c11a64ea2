"""Signatures of decision records, by a key in Key Vault that never leaves it."""

import hashlib
from functools import cached_property
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.keyvault.keys import KeyClient, KeyVaultKey, KeyVaultKeyIdentifier
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm

from shared.adapters.azure_calls import DEADLINES, Identity, expected, translated
from shared.domain.errors import Cause, Misconfigured
from shared.ports import Signature

_ROLE = "give the app Key Vault Crypto User on the key"
_TYPES, _CURVE = ("EC", "EC-HSM"), "P-256"
_SAMPLE = hashlib.sha256(b"basegate readyz").digest()
"""What the check signs: the hash of no statement."""


class VaultSigner:
    """Implements the port `Signer` with the key of a URL, `https://<vault>/keys/<name>`: its latest version, or the one
    that the URL names.
    """

    def __init__(self, key_url: str, credential: Identity) -> None:
        self._url, self._credential = key_url, credential

    @cached_property
    def _id(self) -> KeyVaultKeyIdentifier:
        try:
            return KeyVaultKeyIdentifier(self._url)
        except ValueError as error:
            problem = f"BASEGATE_SIGNING_KEY is no key of a vault: {self._url}"
            raise Misconfigured(problem, remedy="set it to https://<vault>.vault.azure.net/keys/<name>") from error

    @cached_property
    def _client(self) -> KeyClient:
        return KeyClient(self._id.vault_url, self._credential(), **DEADLINES)

    def sign(self, digest: bytes) -> Signature:
        """Sign with ES256, by the version of the key that is read right before: a rotation falls between neither."""
        missing = Misconfigured(f"there is no key {self._url}", remedy="create it: an EC key over P-256")
        with translated(f"signing with {self._url}", remedy=_ROLE), expected(ResourceNotFoundError, instead=missing):
            key = self._client.get_key(self._id.name, self._id.version)
            public = _public_key(key, self._url)
            with CryptographyClient(key, self._credential(), **DEADLINES) as vault:
                signed = vault.sign(SignatureAlgorithm.es256, digest)
        return Signature(_in_der(signed.signature), public)

    def check(self) -> None:
        self.sign(_SAMPLE)


def _public_key(key: KeyVaultKey, url: str) -> bytes:
    """The public key of a version, in PEM.

    Raises:
        Misconfigured: it is no EC key over P-256.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    jwk: Any = key.key
    if key.key_type not in _TYPES or jwk.crv != _CURVE:
        kind, curve = (getattr(name, "value", name) for name in (key.key_type, jwk.crv))
        problem = f"{url} is a key of type {kind}{f' over {curve}' if curve else ''}, not EC over {_CURVE}"
        raise Misconfigured(problem, cause=Cause.SECRET, remedy="set BASEGATE_SIGNING_KEY to an EC key over P-256")
    numbers = EllipticCurvePublicNumbers(int.from_bytes(jwk.x, "big"), int.from_bytes(jwk.y, "big"), SECP256R1())
    return numbers.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _in_der(signature: bytes) -> bytes:
    """A signature in DER; Key Vault returns its two numbers in a row.

    Source: https://learn.microsoft.com/azure/key-vault/keys/about-keys-details#signverify
    """
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    half = len(signature) // 2
    return encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
