"""The app's access keys, created once and stored in a file that only its owner can read.

Source: https://learn.microsoft.com/azure/azure-functions/function-keys-how-to
"""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

import msgspec

from sandbox.rights import read_foreign

EVENT_GRID_KEY = "eventgrid_extension"


def _new_key() -> str:
    return secrets.token_urlsafe(40)


class _Document(msgspec.Struct, rename="camel"):
    master_key: str = msgspec.field(default_factory=_new_key)
    function_keys: dict[str, str] = msgspec.field(default_factory=lambda: {"default": _new_key()})
    system_keys: dict[str, str] = msgspec.field(default_factory=lambda: {EVENT_GRID_KEY: _new_key()})
    functions: dict[str, dict[str, str]] = {}


class Keys:
    """Master key, host keys, system keys and function keys."""

    def __init__(self, file: Path) -> None:
        self._file: Path | None = file
        if file.exists():
            self._document = msgspec.json.decode(file.read_bytes(), type=_Document)
        else:
            self._document = _Document()
            self._save()

    @classmethod
    def read(cls, file: Path) -> Keys:
        """The keys that a host, which may have fewer rights, has stored; they are never written.

        Raises:
            OSError: there are none, or not in a file.
            ValueError: the file has something else.
        """
        keys = cls.__new__(cls)
        keys._file, keys._document = None, msgspec.json.decode(read_foreign(file), type=_Document)
        return keys

    @property
    def master(self) -> str:
        """The master key (`_master`), valid for everything."""
        return self._document.master_key

    @property
    def host(self) -> dict[str, str]:
        """The host keys, valid for every function with authLevel `function`."""
        return dict(self._document.function_keys)

    @property
    def system(self) -> dict[str, str]:
        """The keys of the extensions' webhooks, by name."""
        return dict(self._document.system_keys)

    def of(self, function: str) -> dict[str, str]:
        """The keys of one function, created at the first call."""
        if function not in self._document.functions:
            self._document.functions[function] = {"default": _new_key()}
            self._save()
        return dict(self._document.functions[function])

    def opens(self, given: str, level: str, function: str) -> bool:
        """Whether a key is valid for a function with that authLevel."""
        good = [self.master]
        if level != "admin":
            good += [*self.host.values(), *self.of(function).values()]
        return any(matches(given, key) for key in good)

    def _save(self) -> None:
        if self._file is None:
            return
        beside = self._file.with_suffix(".new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(msgspec.json.encode(self._document))
        beside.replace(self._file)


def matches(given: str, key: str) -> bool:
    """Compare two keys without revealing by timing how much matches."""
    return hmac.compare_digest(given.encode(), key.encode())
