"""The storage account's name and key, and the signatures created with the key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode

from sandbox.private import stored_text

_VERSION = "2022-11-02"
_KEY_BYTES = 64
_FOREVER = "2099-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Account:
    """One storage account; its `repr` does not contain the key (base64)."""

    name: str
    key: str = field(repr=False)

    def host(self, service: str) -> str:
        """The real host name of `blob`, `queue` or `table`."""
        return f"{self.name}.{service}.core.windows.net"

    def full_access(self) -> str:
        """A query string (account SAS) that grants access to every service, for the gateway's own requests.

        Source: https://learn.microsoft.com/rest/api/storageservices/create-account-sas
        """
        permissions, services, kinds = "rwdlacup", "bqt", "sco"
        signed = (self.name, permissions, services, kinds, "", _FOREVER, "", "", _VERSION, "", "")
        return urlencode(
            {
                "sv": _VERSION,
                "ss": services,
                "srt": kinds,
                "sp": permissions,
                "se": _FOREVER,
                "sig": self._sign("\n".join(signed)),
            }
        )

    def blob_access(self, container: str, blob: str, permissions: str, expiry: datetime) -> str:
        """A query string (service SAS) that grants access to one blob until `expiry` (an aware UTC time).

        `permissions` are Azure's letters in Azure's order, such as "r" or "rw".
        Source: https://learn.microsoft.com/rest/api/storageservices/create-service-sas
        """
        end = expiry.strftime("%Y-%m-%dT%H:%M:%SZ")
        resource = f"/blob/{self.name}/{container}/{blob}"
        identifier = address = protocol = snapshot = scope = ""
        overrides = [""] * 5  # Cache-Control, Content-Disposition, -Encoding, -Language, -Type of the response
        signed = [permissions, "", end, resource, identifier, address, protocol, _VERSION, "b", snapshot, scope]
        signature = self._sign("\n".join([*signed, *overrides]))
        return urlencode({"sv": _VERSION, "sr": "b", "se": end, "sp": permissions, "sig": signature})

    def signed(self, query: Mapping[str, str]) -> bool:
        """Whether the parameters of a request to the table service (SAS) were signed with the account's key.

        Not whether they allow it: services, permissions and times are Azurite's to check. Versions before 2015-04-05
        count as not signed.
        Source: https://learn.microsoft.com/rest/api/storageservices/create-account-sas,
        https://learn.microsoft.com/rest/api/storageservices/create-service-sas
        """
        version = query.get("sv", "")
        if "ss" in query:
            names = ["sp", "ss", "srt", "st", "se", "sip", "spr", "sv", *(["ses"] if version >= "2020-12-06" else [])]
            fields = [self.name, *(query.get(name, "") for name in names), ""]
        else:
            before, after = ("sp", "st", "se"), ("si", "sip", "spr", "sv", "spk", "srk", "epk", "erk")
            resource = f"/table/{self.name}/{query.get('tn', '').lower()}"
            fields = [*(query.get(name, "") for name in before), resource, *(query.get(name, "") for name in after)]
        signature = self._sign("\n".join(fields))
        return version >= "2015-04-05" and hmac.compare_digest(signature.encode(), query.get("sig", "").encode())

    def _sign(self, text: str) -> str:
        digest = hmac.new(base64.b64decode(self.key), text.encode(), hashlib.sha256).digest()
        return base64.b64encode(digest).decode()


def open_account(name: str, file: Path) -> Account:
    """The account whose key is stored in `file`; the first call creates a random key (mode 0600)."""
    return Account(name, stored_text(file, lambda: base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()))
