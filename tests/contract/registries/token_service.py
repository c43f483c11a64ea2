"""A token service: signs what a registry trusts, for users with a password and, where allowed, for anyone.

Source: https://distribution.github.io/distribution/spec/auth/jwt/
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.contract.registries.double import Asked, Reply, error_reply, json_reply

ISSUER, SERVICE = "tests", "registry.tests"


class TokenService:
    """Answers `GET /token`; what a token allows is what was asked for, if the user may pull there.

    `users` are passwords by name, `public` the beginnings of names that anyone may pull.
    """

    def __init__(self, users: Mapping[str, str], public: tuple[str, ...]) -> None:
        self.users, self.public, self.issued = dict(users), public, 0
        self._key = ec.generate_private_key(ec.SECP256R1())

    def write_certificate(self, file: Path) -> None:
        """What the registry has to trust."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name).issuer_name(name).public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5)).not_valid_after(now + timedelta(hours=1))
            .sign(self._key, hashes.SHA256())
        )  # fmt: skip
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def __call__(self, asked: Asked) -> Reply:
        scope = asked.query.get("scope", "")
        _, _, rest = scope.partition(":")
        repository, _, actions = rest.rpartition(":")
        if asked.query.get("service") != SERVICE:
            return error_reply(400, "UNSUPPORTED", "another service")
        scheme, _, value = asked.authorization.partition(" ")
        user = ""
        if scheme == "Basic":
            user, _, password = base64.b64decode(value).decode().partition(":")
            if self.users.get(user) != password:
                return error_reply(401, "UNAUTHORIZED", f"incorrect username or password {password}")
        allowed = user or repository.startswith(self.public)
        self.issued += 1
        return json_reply(
            {"token": self.sign(user, repository, actions.split(",") if allowed else []), "expires_in": 300}
        )

    def sign(self, user: str, repository: str, actions: list[str]) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": user, "aud": SERVICE, "exp": now + 300, "nbf": now - 10, "iat": now,
            "jti": str(self.issued),
            "access": [{"type": "repository", "name": repository, "actions": [a for a in actions if a == "pull"]}],
        }  # fmt: skip
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id()})

    def _key_id(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public = self._key.public_key().public_bytes(serialization.Encoding.DER, form)
        text = base64.b32encode(hashlib.sha256(public).digest()[:30]).decode()
        return ":".join(text[place : place + 4] for place in range(0, len(text), 4))
