"""Finds retired words in names and prose: `python scripts/words.py` prints each with its place and what to say instead.

A word is retired where a standard term says the same, or where it meant several things. Names are split at underscores
and capitals, so `TagSightings` and `sighting_of` are found as well as "sightings". Some are plain English in prose
(`prose=False`), and some are part of a plain name (`names`).
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Retired:
    """What to say `instead`; whether it is retired in prose too; the plain names that may contain it."""

    instead: str
    prose: bool = True
    names: frozenset[str] = frozenset()


def _plain(instead: str, *names: str) -> Retired:
    """A word that is plain English in prose."""
    return Retired(instead, prose=False, names=frozenset(names))


WORDS = {
    "admission": Retired("intake"),
    "beat": Retired("sweep job"),
    "course": Retired("controller"),
    "doctor": Retired("health checks"),
    "glance": Retired("overview"),
    "lane": Retired("concurrency key, row"),
    "mending": Retired("repair"),
    "misfit": Retired("validation error"),
    "retreat": Retired("rollback options"),
    "rival": Retired("conflict"),
    "sighting": Retired("observation"),
    "teller": Retired("chapter runner"),
    "theatre": Retired("environment"),
    "tone": Retired("severity"),
    "tour": Retired("job run"),
    "trial": Retired("health check"),
    "untold": Retired("not announced"),
    "act": _plain("call, operation"),
    "advance": _plain("reconcile"),
    "admit": _plain("intake"),
    "answers": _plain("queries, models"),
    "concern": _plain("action item"),
    "find": _plain("lookup"),
    "finding": _plain("result"),
    "look": _plain("work item, read"),
    "mend": _plain("repair"),
    "notice": _plain("outcome"),
    "pace": _plain("requests per minute"),
    "refusal": _plain("HTTP error"),
    "report": _plain("queries"),
    "slice": _plain("batch"),
    "spread": _plain("executor"),
    "stage": _plain("client"),
    "stand": _plain("stable tag"),
    "told": _plain("announced"),
    "track": _plain("stable tag"),
    "trust": _plain("credential scope"),
    "walk": _plain("job runner"),
}

_IGNORED = ("scripts/words.py", "CHANGELOG.md", "docs/adr/", "tests/fuzz/corpus/", "samples/", "sandbox/yardstick/")
_TEXT = (".py", ".md", ".html", ".js", ".css", ".yaml", ".toml", ".json", "Makefile")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_ENDINGS = ("", "s", "es")


def main() -> int:
    """Returns 1 where a retired word is used."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = [hit for name in listed.splitlines() if _is_read(name) for hit in hits(name)]
    for hit in found:
        print(hit)
    print(f"{len(found)} retired words")
    return 1 if found else 0


def hits(name: str) -> Iterator[str]:
    """The retired words of a file, of its name first."""
    for word in retired(Path(name).stem, is_name=True):
        yield f"{name}: file name: {word}: say {WORDS[word].instead}"
    text = (ROOT / name).read_text(encoding="utf-8")
    for line, token, is_name in _python(text) if name.endswith(".py") else _tokens(text):
        for word in retired(token, is_name=is_name):
            yield f"{name}:{line}: {token}: {word}: say {WORDS[word].instead}"


def retired(token: str, *, is_name: bool) -> Iterator[str]:
    """The retired words in a name, or in a word of prose."""
    for part in _PART.findall(token):
        for word in {part.lower().removesuffix(ending) for ending in _ENDINGS if part.lower().endswith(ending)}:
            known = WORDS.get(word) or WORDS.get(part.lower())
            if known and (known.prose or is_name) and token.strip("_") not in known.names:
                yield word if word in WORDS else part.lower()
                break


def _python(text: str) -> Iterator[tuple[int, str, bool]]:
    """The names of a Python module, and the words of its strings and comments."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string, True
        elif token.type not in (tokenize.OP, tokenize.NUMBER):
            for line, word, is_name in _tokens(token.string):
                yield token.start[0] + line - 1, word, is_name


def _tokens(text: str) -> Iterator[tuple[int, str, bool]]:
    """The words of a text; one with an underscore or a capital inside it is a name."""
    for number, line in enumerate(text.splitlines(), 1):
        for found in _NAME.finditer(line):
            word = found[0]
            yield number, word, "_" in word or any(letter.isupper() for letter in word[1:] if not word.isupper())


def _is_read(name: str) -> bool:
    return name.endswith(_TEXT) and not name.startswith(_IGNORED) and "lock" not in Path(name).name


if __name__ == "__main__":
    sys.exit(main())
