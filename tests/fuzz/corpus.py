"""The corpus in the repository: one file a target, an input a line in base64: a change to it can be reviewed."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
MOST_INPUTS = 300
MOST_BYTES = 200_000


def read_corpus(name: str, folder: Path = FOLDER) -> list[bytes]:
    """The inputs that are kept for a target, none where it has no file yet."""
    file = folder / f"{name}.b64"
    return [base64.b64decode(line, validate=True) for line in file.read_text().split()] if file.exists() else []


def write_corpus(name: str, inputs: Iterable[bytes], folder: Path = FOLDER) -> int:
    """Keep the inputs of a target, the short ones first where there are more than a file may hold; returns how many.

    Lines are sorted, so that two runs that find the same write the same file.
    """
    kept: list[str] = []
    left = MOST_BYTES
    for data in sorted(set(inputs) - {b""}, key=lambda data: (len(data), data))[:MOST_INPUTS]:
        line = base64.b64encode(data).decode() + "\n"
        left -= len(line)
        if left < 0:
            break
        kept.append(line)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.b64").write_text("".join(sorted(kept)))
    return len(kept)


def unpack(inputs: Iterable[bytes], folder: Path) -> None:
    """Write inputs as libFuzzer reads them: one file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(inputs):
        (folder / f"{number:05}").write_bytes(data)


def packed(folder: Path) -> list[bytes]:
    """The inputs that libFuzzer left in a folder."""
    return [file.read_bytes() for file in sorted(folder.iterdir())]
