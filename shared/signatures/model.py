"""What is asked about the signatures of a digest, and what is answered."""

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T")

SIGNATURES_LIMIT = 50
"""How many signatures of one digest are read: whoever may push to a repository can attach any number."""

PAYLOAD_LIMIT_BYTES = 1024 * 1024
"""The maximum size of a signature, or of a bundle. Cosign's have about 10 kB."""

_TEXT_LIMIT = 300


class Attached(Struct, frozen=True, kw_only=True):
    """A layer of a manifest that is attached to a digest: a signature, or something that claims to be one.

    `place` names it for the reader, `problem` says why it could not be read. All of it is untrusted input.
    """

    place: str
    media_type: str
    payload: bytes = b""
    annotations: Mapping[str, str] = {}
    problem: str = ""


class Signed(Struct, frozen=True, kw_only=True):
    """A valid signature: of which kind, by whom, and when, if a log or the signer says when."""

    place: str
    kind: str
    by: str
    at: datetime | None = None


class Refused(Struct, frozen=True):
    """A signature that does not count, and why, in a sentence."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class SignatureResult(Struct, frozen=True, kw_only=True):
    """The first valid signature of a digest, and those that were refused before it."""

    signed: Signed | None = None
    refused: tuple[Refused, ...] = ()


class Unverified(Exception):
    """Why a signature does not count; raised by what examines it."""


class Unreadable(Unverified):
    """Why it is not known what somebody states who is trusted, or may be: it is no matter of a stranger's."""


def decoded(data: bytes, kind: type[T], what: str) -> T:
    """A JSON document from a signature. Raises `Unverified` if it is not of its form."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unverified(f"{what} is not of its form ({plain(error)[:120]})") from error


def plain(text: object) -> str:
    """The first line of a text from a signature or a library, printable and truncated, for a reason."""
    first = next(iter(str(text).strip().splitlines()), "")[:_TEXT_LIMIT]
    return "".join(letter if letter.isprintable() else " " for letter in first)
