"""The corpus in the repository: one file per target, one base64 input per line, so that changes can be reviewed."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
MOST_INPUTS = 300
MOST_BYTES = 200_000


def read_corpus(name: str, folder: Path = FOLDER) -> list[bytes]:
    """The stored inputs of a target, none if it has no file yet."""
    file = folder / f"{name}.b64"
    return [base64.b64decode(line, validate=True) for line in file.read_text().split()] if file.exists() else []


def write_corpus(name: str, inputs: Iterable[bytes], folder: Path = FOLDER) -> int:
    """Store the inputs of a target, the shortest if there are more than a file may have; returns how many.

    Lines are sorted, so that two runs with the same results write the same file.
    """
    lines: list[str] = []
    left = MOST_BYTES
    for data in sorted(set(inputs) - {b""}, key=lambda data: (len(data), data))[:MOST_INPUTS]:
        line = base64.b64encode(data).decode() + "\n"
        left -= len(line)
        if left < 0:
            break
        lines.append(line)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.b64").write_text("".join(sorted(lines)))
    return len(lines)


def unpack(inputs: Iterable[bytes], folder: Path) -> None:
    """Write inputs in libFuzzer's format: one file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(inputs):
        (folder / f"{number:05}").write_bytes(data)


def packed(folder: Path) -> list[bytes]:
    """The inputs that libFuzzer wrote to a folder."""
    return [file.read_bytes() for file in sorted(folder.iterdir())]
