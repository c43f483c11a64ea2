"""The secrets of a scenario as canaries, and the search for them in everything that people or programs may read."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

Text = tuple[str, bytes]
"""Something that was logged, stored, queued, served or announced: its place, and its bytes."""

ALLOWED = {
    "ca/ca.key": "the key of the sandbox's certificate authority",
    "keyvault/secrets.json": "the vault itself",
    "secrets/*": "what the sandbox signs tokens with, and the managed identity's secret",
    "storage/account.key": "the key of the storage account",
    "sites/*/keys.json": "the keys of the function app, as its host stores them",
    "sites/sites.json": "the app's settings as App Service stores them: a webhook's URL is one",
    "tasks/tasks.json": "tasks as ACR stores them, with the token that reads their repository; no response shows it",
    "containers/*.json": "container groups as ACI stores them, with the password that pulls their image",
}
"""The files of the state folder that may contain a secret, and why."""

_ISSUED = re.compile(rb"sig=([\w%+/=-]{20,})|(eyJ[\w-]{8,}\.eyJ[\w-]{5,}\.[\w-]*)")
"""The signature of a SAS, and a JWT."""

_SHORTEST = 16
_LARGE = 4_000_000


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A secret in a place without permission for it: which, in what form, and where."""

    where: str
    secret: str
    form: str


def forms(value: str) -> dict[str, bytes]:
    """The forms of a secret in a text: plain, in a URL, in JSON, in Base64 from any byte on."""
    plain = value.encode()
    written = {
        "plain": plain,
        "in a URL": quote(value, safe="").encode(),
        "in a form": quote_plus(value).encode(),
        "in JSON": json.dumps(value)[1:-1].encode(),
        "in JSON in JSON": json.dumps(json.dumps(value)[1:-1])[1:-1].encode(),
        "in hex": plain.hex().encode(),
    }
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + plain)
        whole = encoded[-(-shift * 4 // 3) : (shift + len(plain)) // 3 * 4]  # characters of these bytes alone
        written[f"in base64 at {shift}"] = whole
        written[f"in base64url at {shift}"] = whole.translate(bytes.maketrans(b"+/", b"-_"))
    return {form: needle for form, needle in written.items() if form == "plain" or needle != plain}


def search(canaries: Mapping[str, str], texts: Iterable[Text], known: Collection[str] = ()) -> list[Found]:
    """The places of a canary in any of its forms, and of signatures of a SAS and tokens that are not in `known`."""
    needles = [(name, form, needle) for name, value in canaries.items() for form, needle in forms(value).items()]
    assert all(len(value) >= _SHORTEST for value in canaries.values()), "a short secret is found by chance"
    found: set[Found] = set()
    for where, text in texts:
        found |= {Found(where, name, form) for name, form, needle in needles if needle in text}
        issued = {(match[1] or match[2]).decode() for match in _ISSUED.finditer(text)}
        found |= {Found(where, "a signature or token", one) for one in issued.difference(known)}
    return sorted(found)


def files_of(folder: Path) -> Iterator[Text]:
    """The files below a folder except those that may contain a secret, each content once; gzip is decompressed.

    Only Node's own program and the layers that contain it are so large that they are skipped: they are public.
    """
    seen: set[int] = set()
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if file.is_symlink() or not file.is_file() or any(fnmatch(name, allowed) for allowed in ALLOWED):
            continue
        is_layer = name.startswith(("engine/", "registry/data/"))
        content = b"" if is_layer and file.stat().st_size > _LARGE else file.read_bytes()
        if hash(content) in seen:
            continue
        seen.add(hash(content))
        yield name, content
        if content[:2] == b"\x1f\x8b":
            yield f"{name}, unpacked", zlib.decompressobj(wbits=31).decompress(content, _LARGE)


def files_that_may(folder: Path) -> Iterator[Text]:
    """The files that may contain a secret, by their pattern in `ALLOWED`."""
    for allowed in ALLOWED:
        for file in folder.glob(allowed):
            yield allowed, file.read_bytes()


def texts_in(value: Any) -> bytes:
    """A value as one text, for search: strings as they are, one a line."""
    if isinstance(value, Mapping):
        return b"\n".join(texts_in(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return b"\n".join(map(texts_in, value))
    return value if isinstance(value, bytes) else str(value).encode()
