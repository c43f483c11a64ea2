"""Keys and signatures as JSON Web Keys and Algorithms have them.

Sources: https://learn.microsoft.com/azure/key-vault/keys/about-keys-details,
https://www.rfc-editor.org/rfc/rfc7518
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key

from sandbox.web import Fault

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

CURVES: Mapping[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
RSA_SIZES = (2048, 3072, 4096)
_EXPONENT_BITS = 64
"""OpenSSL takes no longer exponent with a key of more than 3072 bits (include/openssl/rsa.h)."""
OPERATIONS = {
    "EC": ("sign", "verify"),
    "RSA": ("encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"),
}
"""The operations that a key of a type allows if its creator names none."""

_NAMES = {curve.name: name for name, curve in CURVES.items()}
_CURVE_OF = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}


def generate(kind: str, curve: str, size: int) -> PrivateKey:
    """A new key of the type `EC` or `RSA`."""
    if kind == "EC":
        return ec.generate_private_key(CURVES[curve])
    return rsa.generate_private_key(public_exponent=65537, key_size=size)


def stored(key: PrivateKey) -> bytes:
    """A private key as bytes: PKCS #8 in DER."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def loaded(private: bytes) -> PrivateKey:
    """The private key of its bytes."""
    key = load_der_private_key(private, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return key


def public_jwk(key: PrivateKey) -> dict[str, str]:
    """The public key as a JSON Web Key."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        point, size = key.public_key().public_numbers(), _size(key)
        return {"kty": "EC", "crv": _NAMES[key.curve.name], "x": _number(point.x, size), "y": _number(point.y, size)}
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}


def from_jwk(jwk: Mapping[str, str | None]) -> PrivateKey:
    """The private key of a JSON Web Key with its private part.

    Raises:
        Fault: 400 BadParameter that says what is missing or wrong.
    """
    try:
        return _ec_key(jwk) if jwk.get("kty") == "EC" else _rsa_key(jwk)
    except (KeyError, ValueError) as error:
        raise Fault(400, "BadParameter", f"The key is not valid: {error}") from error


def _ec_key(jwk: Mapping[str, str | None]) -> ec.EllipticCurvePrivateKey:
    curve = CURVES[str(jwk.get("crv"))]
    x, y, d = (_int(jwk, name, curve.key_size) for name in ("x", "y", "d"))
    return ec.EllipticCurvePrivateNumbers(d, ec.EllipticCurvePublicNumbers(x, y, curve)).private_key()


def _rsa_key(jwk: Mapping[str, str | None]) -> rsa.RSAPrivateKey:
    """The key. Sizes are checked first: whether the factors are prime takes minutes to find out of huge numbers."""
    public = rsa.RSAPublicNumbers(_int(jwk, "e", _EXPONENT_BITS), _int(jwk, "n", RSA_SIZES[-1]))
    if (size := public.n.bit_length()) not in RSA_SIZES:
        raise ValueError(f"an RSA key has {RSA_SIZES} bits, not {size}")
    p, q, d, dp, dq, qi = (_int(jwk, name, size) for name in ("p", "q", "d", "dp", "dq", "qi"))
    return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, public).private_key()


def sign(key: PrivateKey, algorithm: str, digest: bytes) -> bytes:
    """The signature of a hash: for an EC key the two numbers in a row, not in DER.

    Raises:
        Fault: 400 BadParameter if the algorithm or the hash does not fit the key.
    """
    hashed = _hash(key, algorithm, digest)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        first, second = decode_dss_signature(key.sign(digest, ec.ECDSA(hashed)))
        return first.to_bytes(_size(key), "big") + second.to_bytes(_size(key), "big")
    return key.sign(digest, _padding(algorithm, digest), hashed)


def verify(key: PrivateKey, algorithm: str, digest: bytes, signature: bytes) -> bool:
    """Whether a signature is that of the key.

    Raises:
        Fault: 400 BadParameter if the algorithm or the hash does not fit the key.
    """
    hashed = _hash(key, algorithm, digest)
    try:
        if isinstance(key, ec.EllipticCurvePrivateKey):
            if len(signature) != 2 * _size(key):
                return False
            halves = (int.from_bytes(half, "big") for half in (signature[: _size(key)], signature[_size(key) :]))
            key.public_key().verify(encode_dss_signature(*halves), digest, ec.ECDSA(hashed))
        else:
            key.public_key().verify(signature, digest, _padding(algorithm, digest), hashed)
    except InvalidSignature:
        return False
    return True


def decoded(text: str, name: str) -> bytes:
    """The bytes of a field in base64url.

    Raises:
        Fault: 400 BadParameter.
    """
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Fault(400, "BadParameter", f"'{name}' is not base64url.") from error


def encoded(content: bytes) -> str:
    """Bytes in base64url, without padding."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _hash(key: PrivateKey, algorithm: str, digest: bytes) -> Prehashed:
    """The hash of an algorithm, after a check that both fit."""
    family, bits = algorithm[:2], algorithm[2:]
    is_ec = isinstance(key, ec.EllipticCurvePrivateKey)
    if bits not in _HASHES or family not in (("ES",) if is_ec else ("RS", "PS")):
        kind = "EC" if is_ec else "RSA"
        raise Fault(400, "BadParameter", f"The algorithm '{algorithm}' does not fit a key of type {kind}.")
    if isinstance(key, ec.EllipticCurvePrivateKey) and _CURVE_OF[algorithm] != _NAMES[key.curve.name]:
        message = f"The algorithm '{algorithm}' needs a key on {_CURVE_OF[algorithm]}, not on {_NAMES[key.curve.name]}."
        raise Fault(400, "BadParameter", message)
    if len(digest) != _HASHES[bits].digest_size:
        message = f"Invalid length of 'value': {len(digest)} bytes. {algorithm} signs {_HASHES[bits].digest_size}."
        raise Fault(400, "BadParameter", message)
    return Prehashed(_HASHES[bits])


def _padding(algorithm: str, digest: bytes) -> padding.AsymmetricPadding:
    if algorithm.startswith("RS"):
        return padding.PKCS1v15()
    return padding.PSS(mgf=padding.MGF1(_HASHES[algorithm[2:]]), salt_length=len(digest))


def _size(key: ec.EllipticCurvePrivateKey) -> int:
    return (key.curve.key_size + 7) // 8


def _number(value: int, size: int = 0) -> str:
    return encoded(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def _int(jwk: Mapping[str, str | None], name: str, most_bits: int) -> int:
    text = jwk.get(name)
    if not text:
        raise ValueError(f"'{name}' is missing")
    number = int.from_bytes(decoded(text, name), "big")
    if number.bit_length() > most_bits:
        raise ValueError(f"'{name}' has more than {most_bits} bits")
    return number
