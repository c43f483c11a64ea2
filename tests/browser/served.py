"""The server of the board's pages: that of all tests."""

from __future__ import annotations

from tests.served import KEY, App, serving

__all__ = ["KEY", "App", "serving"]
