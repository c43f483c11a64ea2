"""The previous version: its source tree, and the state it left at every point, as JSON in `before.json.gz`.

`python -m tests.upgrade.before` writes that file again: after the stories have changed, or if another version is the
previous one.
"""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree, ignore_patterns

import msgspec

from tests.upgrade.stories import Moment

ROOT = Path(__file__).parents[2]
BEFORE = "70c49522d6061cf4791eda31b59f4ec6a4ade6d5"
"""The commit of the previous version, which runs beside this one while it is rolled out."""

FIXTURE = Path(__file__).with_name("before.json.gz")


def moments_before() -> list[Moment]:
    """The moments that the previous version left."""
    return msgspec.json.decode(gzip.decompress(FIXTURE.read_bytes()), type=list[Moment])


def is_at_hand() -> bool:
    """Whether this clone has the commit: a shallow clone does not, nor does a folder that is not a clone."""
    command = ["git", "-C", str(ROOT), "cat-file", "-e", f"{BEFORE}^{{commit}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def tree() -> Iterator[Path]:
    """The source tree of the previous version, with the stories of this one."""
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", BEFORE], capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as content:
            content.extractall(folder, filter="data")
        stories = ROOT / "tests" / "upgrade"
        copytree(stories, Path(folder) / "tests" / "upgrade", ignore=ignore_patterns("test_*", "*.gz", "__pycache__"))
        yield Path(folder)


def output_of(folder: Path, word: str, moments: Sequence[Moment] = ()) -> bytes:
    """The output of the stories in a source tree, for some moments."""
    command = [sys.executable, "-m", "tests.upgrade.stories", word]
    return subprocess.run(
        command, cwd=folder, input=msgspec.json.encode(moments), stdout=subprocess.PIPE, check=True
    ).stdout


def main() -> None:
    """Write the file again."""
    with tree() as folder:
        played = output_of(folder, "play")
    FIXTURE.write_bytes(gzip.compress(played, compresslevel=9, mtime=0))
    sys.stdout.write(f"{FIXTURE.name}: {len(msgspec.json.decode(played))} moments of {BEFORE[:7]}\n")


if __name__ == "__main__":
    main()
