"""An image of the stand-in scanner (`sandbox.scanner`): the Python of this machine, and what the scanner imports.

It stands in for the image of a real scanner where none can be pulled, and takes the same command line.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import sandbox
from sandbox.registry.oci import OciImage
from sandbox.upstream.busybox import busybox_tree, libraries
from sandbox.upstream.fetch import MissingPart
from sandbox.upstream.stand_in import ARCHITECTURES, PATH
from sandbox.upstream.tree import Entry, File, Link, Tree, make_image

_PACKAGES = ("univers", "attrs", "packaging", "semver", "semantic-version")
_NEEDLESS = frozenset(
    ("test", "tests", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip", "pydoc_data", "site-packages")
)
_UNUSED = re.compile(r"_(?:tkinter|test|sqlite3|curses|g?dbm|ctypes_test|xx)|readline|audioop|ossaudiodev|nis|xx")
_HOME = "opt/osv-match"


@functools.cache
def scanner_image() -> OciImage:
    """The image, whose entry point is `python -m sandbox.scanner`. The first call takes a second or two.

    Raises:
        MissingPart: if this machine has no BusyBox, or the scanner's packages are not installed.
    """
    program = Path(sys.executable).resolve()
    tree: dict[str, Entry] = {
        **busybox_tree(),
        **_python(program),
        **_sources(),
        "usr/bin/python3": Link(str(program)),
    }
    return make_image(
        tree,
        architecture=ARCHITECTURES.get(platform.machine(), platform.machine()),
        environment={"PATH": PATH, "PYTHONPATH": f"/{_HOME}", "PYTHONDONTWRITEBYTECODE": "1"},
        command=[],
        entrypoint=["/usr/bin/python3", "-m", "sandbox.scanner"],
    )


def _python(program: Path) -> Tree:
    """The interpreter and its library, at the paths where it looks for them."""
    library = Path(sysconfig.get_path("stdlib"))
    extensions = sorted((library / "lib-dynload").glob("*.so"))
    native = (program, *(path for path in extensions if not _UNUSED.match(path.name)))
    return {
        **libraries(*native),
        **{str(path).lstrip("/"): File(path.read_bytes(), 0o755) for path in native},
        **{str(path).lstrip("/"): File(path.read_bytes()) for path in _modules(library, needless=_NEEDLESS)},
    }


def _sources() -> Tree:
    """The scanner, its advisories, and the packages that it imports."""
    root = Path(sandbox.__file__).parent
    tree: dict[str, Entry] = {f"{_HOME}/sandbox/__init__.py": File((root / "__init__.py").read_bytes())}
    for path in (*_modules(root / "scanner"), *sorted((root / "scanner" / "advisories").glob("*.json"))):
        tree[f"{_HOME}/sandbox/{path.relative_to(root)}"] = File(path.read_bytes())
    for name in _PACKAGES:
        try:
            files = importlib.metadata.files(name) or ()
        except importlib.metadata.PackageNotFoundError as error:
            missing = f"the stand-in scanner needs the package {name}: install sandbox/requirements.txt."
            raise MissingPart(missing) from error
        for file in files:
            if file.suffix == ".py" or file.name == "METADATA":  # some packages ask for their own version
                tree[f"{_HOME}/{file}"] = File(Path(str(file.locate())).read_bytes())
    return tree


def _modules(folder: Path, needless: frozenset[str] = frozenset()) -> Iterator[Path]:
    """The source files below a folder, without the folders that nobody imports."""
    for name, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - needless - {"__pycache__"})
        yield from (Path(name, file) for file in sorted(files) if file.endswith(".py"))
