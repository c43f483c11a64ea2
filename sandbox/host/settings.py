"""The app's settings: environment variables, and a file in the format of Core Tools' local.settings.json."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from sandbox.host.errors import Misconfigured

_PLACEHOLDER = re.compile(r"%([^%\s]+)%")


class _SettingsFile(msgspec.Struct, rename="pascal"):
    is_encrypted: bool = False
    values: dict[str, str] = {}


class AppSettings:
    """Settings by name, case-insensitive as in .NET configuration; `:` and `__` are equivalent.

    `environment` is passed to the worker processes, with the names as written.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self._by_name = {_fold(name): value for name, value in environment.items()}

    @classmethod
    def load(cls, environment: Mapping[str, str], file: Path | None) -> AppSettings:
        """Merge the environment and the file's values; the environment takes precedence (as in Core Tools).

        Raises:
            Misconfigured: the file is unreadable, encrypted, or contains a value that is not a string.
        """
        return cls({**(_read(file) if file else {}), **environment})

    def get(self, name: str, default: str | None = None) -> str | None:
        """A setting's value."""
        return self._by_name.get(_fold(name), default)

    def resolve(self, text: str, where: str) -> str:
        """Replace every `%SETTING%` in `text`.

        Args:
            text: a text from the binding.
            where: function and binding, for the error.

        Raises:
            Misconfigured: a setting is missing.
        """

        def value(match: re.Match[str]) -> str:
            found = self.get(match[1])
            if found is None:
                raise Misconfigured(f"{where}: '%{match[1]}%' does not resolve: there is no setting '{match[1]}'.")
            return found

        return _PLACEHOLDER.sub(value, text)


def _fold(name: str) -> str:
    return name.lower().replace("__", ":")


def _read(file: Path) -> dict[str, str]:
    try:
        parsed = msgspec.json.decode(file.read_bytes(), type=_SettingsFile)
    except (OSError, msgspec.MsgspecError) as error:
        raise Misconfigured(f"The settings file {file} cannot be read: {error}") from error
    if parsed.is_encrypted:
        raise Misconfigured(f"The settings file {file} is encrypted; decrypt it with `func settings decrypt`.")
    return parsed.values
