"""Authorization of publishers to a custom topic: by topic key, by a token signed with one, or by Entra token.

Source: https://learn.microsoft.com/azure/event-grid/authenticate-with-access-keys-shared-access-signatures
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import unquote_plus, urlsplit

from sandbox.entra import EVENTGRID_AUDIENCES, Issuer
from sandbox.eventgrid.arm.topics import Topic
from sandbox.web import Fault

_EXPIRY_FORMATS = ("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %H:%M:%S")


def authorize(headers: Mapping[str, str], topic: Topic, issuer: Issuer) -> None:
    """Authorize a publisher.

    Raises:
        Fault: 401 that names what is missing or wrong, but never contains the key or token itself.
    """
    key, signature = headers.get("aeg-sas-key"), headers.get("aeg-sas-token")
    bearer = headers.get("Authorization", "")
    if bearer.lower().startswith("sharedaccesssignature "):
        signature = bearer.partition(" ")[2]
    if key is None and signature is None:
        if not bearer:
            raise _refused(
                "Request must contain one of the following authorization signature: aeg-sas-token, aeg-sas-key"
            )
        issuer.bearer(bearer, EVENTGRID_AUDIENCES)
    elif topic.disable_local_auth:
        raise _refused(f"The topic {topic.host} takes Entra tokens only: disableLocalAuth is true")
    elif key is not None:
        if not any(secrets.compare_digest(key.encode(), own.encode()) for own in (topic.key1, topic.key2)):
            raise _refused(f"The request authorization key is not authorized for {topic.host.upper()}")
    else:
        _check_signature(signature or "", topic)


def _check_signature(token: str, topic: Topic) -> None:
    unsigned, _, signature = token.partition("&s=")
    fields = dict(part.partition("=")[::2] for part in unsigned.split("&"))
    if not signature or set(fields) != {"r", "e"}:
        raise _refused("The aeg-sas-token must have the form r=<resource>&e=<expiry>&s=<signature>")
    if not any(hmac.compare_digest(unquote_plus(signature), _sign(key, unsigned)) for key in (topic.key1, topic.key2)):
        raise _refused(f"The signature of the aeg-sas-token is not one of {topic.host}")
    if (urlsplit(unquote_plus(fields["r"])).hostname or "") != topic.host:
        raise _refused(f"The aeg-sas-token is for another resource than {topic.endpoint}")
    if _expiry(unquote_plus(fields["e"])) <= datetime.now(UTC):
        raise _refused("The aeg-sas-token has expired")


def _sign(key: str, text: str) -> str:
    return base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()


def _expiry(text: str) -> datetime:
    """Parse the expiry `e` of a token, in ISO 8601 or .NET format."""
    for parse in (datetime.fromisoformat, *(lambda t, f=f: datetime.strptime(t, f) for f in _EXPIRY_FORMATS)):
        try:
            time = parse(text)
        except ValueError:
            continue
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    raise _refused("The expiry of the aeg-sas-token is no point in time")


def _refused(why: str) -> Fault:
    return Fault(401, "Unauthorized", f"{why}.")
