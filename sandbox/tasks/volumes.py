"""Secret volumes: files that exist as long as a run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sandbox.tasks.model import Volume


@contextmanager
def secret_volumes(volumes: Sequence[Volume]) -> Iterator[dict[str, Path]]:
    """A folder for each volume, by name. Only this user can reach them here; in a container every user can read."""
    if not volumes:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="basegate-volumes-") as private:
        folders = {}
        for number, volume in enumerate(volumes):
            folder = folders[volume.name] = Path(private, str(number))
            folder.mkdir()
            for name, content in volume.files.items():
                (folder / name).write_bytes(content)
        yield folders
