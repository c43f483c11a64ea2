"""`make words` reports retired words in names, file names and prose, each with its place and a replacement.

A word is retired if a standard term has the same meaning, or if it had several meanings. Names are split at underscores
and capitals, so `TagSightings` and `sighting_of` are found as well as "sightings". The `Scope` of a word is where it is
retired: "look" is plain English in prose, but not a name for a class. The name of a test is a sentence: prose.
`ALLOWED` are the reviewed names in which a retired word has its plain meaning.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Scope(IntEnum):
    """Where a word is retired: each scope includes those before it."""

    FILES = 1
    NAMES = 2
    PROSE = 3


_WORDS = {
    Scope.PROSE: {
        "admission": "intake",
        "beat": "sweep job",
        "course": "controller",
        "doctor": "health checks",
        "glance": "overview",
        "lane": "concurrency key, row",
        "mending": "repair",
        "misfit": "validation error",
        "retreat": "rollback options",
        "rival": "conflict",
        "sighting": "observation",
        "teller": "chapter runner",
        "theatre": "environment",
        "tone": "severity",
        "tour": "job run",
        "trial": "health check",
        "untold": "not announced",
    },
    Scope.NAMES: {
        "act": "call, operation",
        "admit": "intake",
        "advance": "reconcile",
        "answers": "queries, models, responses",
        "concern": "action item",
        "find": "lookup",
        "look": "work item, read",
        "mend": "repair",
        "misfits": "validation errors",
        "notice": "outcome",
        "pace": "requests per minute",
        "refusal": "error",
        "silent_after": "stale_after",
        "slice": "batch",
        "spread": "executor",
        "stage": "client",
        "stand": "stable tag",
        "told": "announced",
        "track": "stable tag",
        "trust": "credential scope",
        "walk": "job runner",
        "watch": "interval",
    },
    Scope.FILES: {
        "faults": "errors",
        "grants": "token requests",
        "lines": "list items",
    },
}
WORDS = {word: (scope, instead) for scope, words in _WORDS.items() for word, instead in words.items()}

ALLOWED = {
    # decide, then act: the step of a reconciler, and what an operator does in a test
    "act": "act _act acts plan_and_act _plan_acts",
    # a program, a package or an identity is searched for; "Find" was a query
    "find": "find _find find_program find_identity FindIdentity _find_identity find_role find_bases find_spec"
    " find_object _find_dependencies regexFind regexFindAll",
    # injected into event delivery by drills
    "faults": "faults",
    "look": "looks _looks_like_json next_look",
    # a build stage of a Dockerfile, of a task file's expression
    "stage": "stage stages _stages",
    # the image that stands in for one of Docker Hub
    "stand": "stand_in StandIn STAND_IN",
    # of TLS certificates; an option of requests; a policy of registries in Azure; whose signatures count
    "trust": "trust trust_env configure_trust trust_policy trustPolicy"
    " Trust CosignTrust NotationTrust TrustText trust_root",
    # of a tree: os.walk, ast.walk, pkgutil
    "walk": "walk walk_packages",
    # to follow something until it ends, as kubectl does; it was a key of gates.yaml
    "watch": "watch _watch _watches WATCH_CHECK WATCH_COPY WATCH_BUILD _watch_copy watch_record watch_status"
    " watchDirectories watchFiles",
}
_ALLOWED = {word: frozenset(names.split()) for word, names in ALLOWED.items()}

_IGNORED = (
    "scripts/words.py",
    "tests/architecture/test_words.py",
    "docs/adr/",
    "tests/data/",
    "tests/fuzz/corpus/",
    "samples/",
    "sandbox/yardstick/",
)
_TEXT = (".py", ".md", ".html", ".js", ".css", ".yaml", ".toml", ".json", "Makefile")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_ENDINGS = ("", "s", "es")


def main() -> int:
    """Return 1 if a retired word is used."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = [hit for name in listed.splitlines() if _is_read(name) for hit in hits(name)]
    print(*found, f"{len(found)} retired words", sep="\n")
    return 1 if found else 0


def hits(name: str) -> Iterator[str]:
    """The retired words of a file, of its name first."""
    for word in retired(Path(name).stem, Scope.FILES):
        yield f"{name}: file name: {word}: say {WORDS[word][1]}"
    text = (ROOT / name).read_text(encoding="utf-8")
    for line, token, scope in _python(text) if name.endswith(".py") else _tokens(text):
        for word in retired(token, scope):
            yield f"{name}:{line}: {token}: {word}: say {WORDS[word][1]}"


def retired(token: str, scope: Scope) -> Iterator[str]:
    """The retired words in a name, or in a word of prose: plurals and compounds too."""
    if token.startswith("test_"):
        scope = Scope.PROSE
    for part in dict.fromkeys(map(str.lower, [token, *_PART.findall(token)])):
        word = next((part[: len(part) - len(end)] for end in _ENDINGS if _is_word(part, end)), "")
        if word and WORDS[word][0] >= scope and token not in _ALLOWED.get(word, ()):
            yield word


def _is_word(part: str, ending: str) -> bool:
    return part.endswith(ending) and part[: len(part) - len(ending)] in WORDS


def _python(text: str) -> Iterator[tuple[int, str, Scope]]:
    """The names of a Python module, and the words of its strings and comments."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string, Scope.NAMES
        elif token.type not in (tokenize.OP, tokenize.NUMBER):
            for line, word, scope in _tokens(token.string):
                yield token.start[0] + line - 1, word, scope


def _tokens(text: str) -> Iterator[tuple[int, str, Scope]]:
    """The words of a text; one with an underscore or a capital inside it is a name."""
    for number, line in enumerate(text.splitlines(), 1):
        for found in _NAME.finditer(line):
            word = found[0]
            is_name = "_" in word or (not word.isupper() and any(map(str.isupper, word[1:])))
            yield number, word, Scope.NAMES if is_name else Scope.PROSE


def _is_read(name: str) -> bool:
    return name.endswith(_TEXT) and not name.startswith(_IGNORED) and "lock" not in Path(name).name


if __name__ == "__main__":
    sys.exit(main())
