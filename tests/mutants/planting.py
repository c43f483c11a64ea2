"""Plants a known bug into this process: one module is imported from a modified text, no file is changed."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import CodeType, ModuleType

from tests.mutants.known import Mutant

ROOT = Path(__file__).parents[2]


def mutated(mutant: Mutant) -> str:
    """The text of the mutant's file with the bug in it.

    Raises:
        ValueError: what the bug replaces does not stand there exactly once.
    """
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    if (found := text.count(mutant.old)) != 1:
        raise ValueError(f"its text stands {found} times in {mutant.file}: it must stand there once")
    return text.replace(mutant.old, mutant.new)


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module from a text that is not the one in its file."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self._text.encode(), self.path)


class _Finder(MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._name, self._path = mutant.file.removesuffix(".py").replace("/", "."), str(ROOT / mutant.file)
        self._text = mutated(mutant)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = _Loader(fullname, self._path, self._text)
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


def plant(mutant: Mutant) -> None:
    """From now on this process imports the mutant's module with the bug in it; nobody has imported it yet."""
    sys.meta_path.insert(0, _Finder(mutant))
