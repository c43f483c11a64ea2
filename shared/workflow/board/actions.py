"""Buttons: what each calls, and what its dialog asks."""

from __future__ import annotations

import msgspec


class Choice(msgspec.Struct, frozen=True):
    """One of the values that a dialog offers."""

    value: str
    label: str


class Ask(msgspec.Struct, frozen=True):
    """A field that the dialog of an action asks for, beside the reason."""

    name: str
    label: str
    choices: tuple[Choice, ...]


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """A verb as a button: what is called, with which fixed fields, and what its dialog asks.

    `label` is the verb, `subject` what it acts on; `path` is below `/api/v1`; `etag` guards a stale view.
    """

    label: str
    subject: str
    path: str
    method: str = "POST"
    fields: dict[str, str | bool] = {}
    asks: tuple[Ask, ...] = ()
    etag: str = ""
    grave: bool = False

    @property
    def body(self) -> str:
        """The fixed fields as JSON."""
        return msgspec.json.encode(self.fields).decode()

    @property
    def asks_json(self) -> str:
        """What the dialog asks, as JSON."""
        return msgspec.json.encode(self.asks).decode()
