"""`python -m sandbox.coverage`: the registered operations of the sandbox, as Markdown."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from sandbox.box import Box
from sandbox.instance import Instance, Settings
from sandbox.web import Operation, Surface

_PREFACE = Path(__file__).with_name("coverage_preface.md")
_PROVIDER = re.compile(r"/providers/(Microsoft\.\w+)")
_MANY_VERSIONS = 3


def render(surfaces: Iterable[Surface]) -> str:
    """The whole page; the same operations always result in the same text."""
    sections = (line for surface in surfaces for line in _section(surface))
    return "\n".join([_PREFACE.read_text(encoding="utf-8"), *sections])


def all_surfaces() -> Sequence[Surface]:
    """The surfaces of a sandbox that is constructed but not started."""
    with tempfile.TemporaryDirectory(prefix="basegate-coverage-") as folder:
        return Box(Instance(Path(folder)), Settings(), Path(folder)).mount()


def _section(surface: Surface) -> Iterator[str]:
    families: dict[str, list[Operation]] = {}
    for operation in surface.operations:
        families.setdefault(_family(operation), []).append(operation)
    hosts = surface.hosts.pattern
    where = f"Hosts: `{hosts}`" if hosts else "On the socket `control.sock` in the state folder, for its owner alone"
    yield from (f"## {surface.name}", "", where, "")
    for family in sorted(families):
        if len(families) > 1:
            yield from (f"### {family or 'Subscriptions, groups and long-running operations'}", "")
        yield from _table(families[family])


def _family(operation: Operation) -> str:
    """The resource provider of an operation, "" for none: the last one in its path."""
    return str((_PROVIDER.findall(operation.pattern) or [""])[-1])


def _table(operations: Sequence[Operation]) -> Iterator[str]:
    sets = _long_sets(operations)
    for versions, label in sets.items():
        yield from (f"api-versions {label}: {', '.join(sorted(versions))}", "")
    yield from ("| method | path | api-versions | what it does |", "|---|---|---|---|")
    for (pattern, versions, summary), same in groupby(operations, key=lambda o: (o.pattern, o.versions, o.summary)):
        shown = sets.get(versions) or ", ".join(sorted(versions))
        methods = ", ".join(operation.method for operation in same)
        yield f"| {methods} | `{pattern}` | {shown} | {summary.replace('|', chr(92) + '|')} |"
    yield ""


def _long_sets(operations: Sequence[Operation]) -> dict[frozenset[str], str]:
    """A letter for each set of api-versions that is too long for a row, in order of appearance."""
    found = dict.fromkeys(o.versions for o in operations if len(o.versions) > _MANY_VERSIONS)
    return {versions: chr(ord("A") + number) for number, versions in enumerate(found)}


if __name__ == "__main__":
    sys.stdout.write(render(all_surfaces()))
