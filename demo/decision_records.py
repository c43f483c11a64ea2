"""The decision records at the base registry: verified by anybody with the public key, and one that is forged."""

from __future__ import annotations

import base64
import json
import urllib.parse
import urllib.request
from io import BytesIO
from pathlib import Path
from typing import Any

from azure.containerregistry import ContainerRegistryClient
from azure.keyvault.keys import KeyClient
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from basegate_cli.registry import TOKEN_USER, Login, Registry
from demo import scenario
from demo.azure import Azure
from demo.client import StoryError
from demo.command_line import CommandLine
from demo.provision import VAULT_URL
from shared.domain.dsse import BUNDLE_TYPE

_KEY = "basegate-records"
_HOST = f"{scenario.BASE}.azurecr.io"
_COPY = "forged/node"
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


class DecisionRecords:
    """The key that signs them, `basegate verify`, and somebody who changes one; `folder` is where the public key is."""

    def __init__(self, azure: Azure, basegate: CommandLine, folder: Path) -> None:
        self._azure, self._basegate, self._file = azure, basegate, folder / "basegate.pem"
        self._keys = KeyClient(VAULT_URL, azure.credential)
        self._registry = ContainerRegistryClient(f"https://{_HOST}", azure.credential)

    def close(self) -> None:
        """Close the connections."""
        self._keys.close()
        self._registry.close()

    def make_key(self) -> str:
        """Make the key in the vault, and download its public half; returns its URL, for the app's settings."""
        key: Any = self._keys.create_ec_key(_KEY, curve="P-256").key
        numbers = EllipticCurvePublicNumbers(int.from_bytes(key.x), int.from_bytes(key.y), SECP256R1())
        self._file.write_bytes(numbers.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        return f"{VAULT_URL}/keys/{_KEY}"

    def verify(self, image: str) -> tuple[bool, str]:
        """Run `basegate verify` on an image of the base registry: whether it is proven, and what was printed."""
        login = ("--username", TOKEN_USER)
        done = self._basegate.run(
            "verify", f"{_HOST}/{image}", "--key", str(self._file), *login, BASEGATE_REGISTRY_PASSWORD=self._password()
        )
        return done.returncode == 0, done.stdout or done.stderr

    def forge(self, digest: str, old: str, new: str) -> str:
        """Copy an image of `node`, and attach its decision with a text in it replaced; returns the copy's name.

        Raises:
            StoryError: no record of the image has that text.
        """
        source = {"resourceId": scenario.registry_id(scenario.BASE), "sourceImage": f"node@{digest}"}
        body = {"source": source, "targetTags": [f"{_COPY}:{scenario.STABLE}"], "mode": "Force"}
        self._azure.post(f"{scenario.registry_id(scenario.BASE)}/importImage", "2025-11-01", body)
        reader = Registry(_HOST, Login(TOKEN_USER, self._password()))
        for descriptor in reader.referrers("node", digest, BUNDLE_TYPE):
            manifest = json.loads(reader.manifest("node", descriptor["digest"])[1])
            record = json.loads(reader.blob("node", manifest["layers"][0]["digest"]))
            payload = base64.b64decode(record["dsseEnvelope"]["payload"])
            if old.encode() in payload:
                forged = payload.replace(old.encode(), new.encode(), 1)
                record["dsseEnvelope"]["payload"] = base64.b64encode(forged).decode()
                self._attach(manifest, json.dumps(record).encode())
                return f"{_COPY}:{scenario.STABLE}"
        raise StoryError(f"no decision record of node@{digest} has {old!r}")

    def _attach(self, manifest: dict[str, Any], record: bytes) -> None:
        """Attach a record to the copy with the manifest of another one."""
        self._registry.upload_blob(_COPY, BytesIO(b"{}"))
        uploaded, size = self._registry.upload_blob(_COPY, BytesIO(record))
        layer = manifest["layers"][0] | {"digest": uploaded, "size": size}
        body = json.dumps(manifest | {"layers": [layer]}).encode()
        self._registry.set_manifest(_COPY, BytesIO(body), media_type=_MANIFEST_TYPE)

    def _password(self) -> str:
        """What `az acr login --expose-token` prints."""
        token = self._azure.credential.get_token("https://containerregistry.azure.net/.default").token
        asked = {"grant_type": "access_token", "service": _HOST, "access_token": token}
        body = urllib.parse.urlencode(asked).encode()
        with urllib.request.urlopen(f"https://{_HOST}/oauth2/exchange", body, timeout=10) as answer:
            return str(json.load(answer)["refresh_token"])
