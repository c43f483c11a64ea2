"""Payloads as Event Grid delivers them, by the name of their file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def event_text(name: str) -> str:
    """The payload as the Functions host hands it over."""
    return (FOLDER / f"{name}.json").read_text(encoding="utf-8")


def event(name: str) -> dict[str, Any]:
    """The payload, decoded."""
    payload: dict[str, Any] = json.loads(event_text(name))
    return payload


def event_names() -> list[str]:
    """Every payload there is."""
    return sorted(file.stem for file in FOLDER.glob("*.json"))
