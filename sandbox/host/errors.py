"""What keeps an app from being served."""

from __future__ import annotations


class Misconfigured(Exception):
    """The app, its settings or its host.json cannot be served; the text names what is wrong and where."""
