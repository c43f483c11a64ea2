"""`python -m sandbox.coverage`: the registered operations of the sandbox, and what it refuses, as Markdown.

All but the preface is made from the tables that the sandbox itself works with, and from the lists that its tests play.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from sandbox.box import Box
from sandbox.conformance.table import read_rows
from sandbox.containers.validation import refused_fields
from sandbox.instance import Instance, Settings
from sandbox.tasks.runner.command_line import OPTIONS
from sandbox.tasks.taskfile.gotemplate.sprig_data import REFUSED
from sandbox.web import Operation, Surface
from sandbox.yardstick.walkthrough import ARTICLE, BEYOND, load_walkthrough

_PREFACE = Path(__file__).with_name("coverage_preface.md")
_PROVIDER = re.compile(r"/providers/(Microsoft\.\w+)")
_MANY_VERSIONS = 3


def render(surfaces: Iterable[Surface]) -> str:
    """The whole page; the same operations always result in the same text."""
    sections = (line for surface in surfaces for line in _section(surface))
    return "\n".join([_PREFACE.read_text(encoding="utf-8"), *_task_files(), *_container_groups(), *_az(), *sections])


def all_surfaces() -> Sequence[Surface]:
    """The surfaces of a sandbox that is constructed but not started."""
    with tempfile.TemporaryDirectory(prefix="basegate-coverage-") as folder:
        return Box(Instance(Path(folder)), Settings(), Path(folder)).mount()


def _task_files() -> Iterator[str]:
    """What ACR's engine takes in a task file, and the sandbox refuses."""
    rows = read_rows()
    refused = [(_cell(row.what), f"… {_cell(row.refuses)} …") for row in rows if row.refuses]
    yield from ("## What is refused in task files", "")
    yield f"`make conformance` plays {len(rows)} behaviours of ACR's engine (`sandbox/conformance/rows`)."
    yield from (f"{len(rows) - len(refused)} of them are the sandbox's; the others are refused:", "")
    yield from _rows(("in ACR", "the sandbox says"), refused)
    yield from ("Functions of templates that are refused:", "")
    yield from _rows(("functions", "why"), [(_names(names), _cell(reason)) for reason, names in REFUSED.items()])
    yield from ("Options that are known in the command line of a step; every other one is refused by name:", "")
    yield from _rows(("command", "options"), [(command, _names(options)) for command, options in OPTIONS.items()])


def _container_groups() -> Iterator[str]:
    """What a container group of Azure can have, and one here cannot."""
    yield from ("## What is refused in container groups", "", f"{_names(refused_fields())}.", "")


def _az() -> Iterator[str]:
    """The commands of `az` that the sandbox has not."""
    commands = [command for file in (ARTICLE, BEYOND) for command in load_walkthrough(file).command if command.refused]
    yield from ("## Commands of az that are not there", "")
    yield from ("Of those that `make yardstick` plays (`docs/azure-cli.md`):", "")
    cells = [(f"`az {_cell(command.run)}`", f"`{_cell(command.refused)}`") for command in commands]
    yield from _rows(("command", "the sandbox says (a regular expression)"), cells)


def _rows(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield from (f"| {head[0]} | {head[1]} |", "|---|---|")
    yield from (f"| {left} | {right} |" for left, right in rows)
    yield ""


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


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
        yield f"| {methods} | `{pattern}` | {shown} | {_cell(summary)} |"
    yield ""


def _long_sets(operations: Sequence[Operation]) -> dict[frozenset[str], str]:
    """A letter for each set of api-versions that is too long for a row, in order of appearance."""
    found = dict.fromkeys(o.versions for o in operations if len(o.versions) > _MANY_VERSIONS)
    return {versions: chr(ord("A") + number) for number, versions in enumerate(found)}


if __name__ == "__main__":
    sys.stdout.write(render(all_surfaces()))
