"""The error of this package."""

from __future__ import annotations


class ScanError(Exception):
    """An image or an advisory cannot be read; the text says what, and why."""
