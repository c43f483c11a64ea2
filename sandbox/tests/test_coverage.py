from __future__ import annotations

import re
from pathlib import Path

from aiohttp import web

from sandbox import coverage
from sandbox.conformance.table import read_rows
from sandbox.containers.validation import refused_fields
from sandbox.tasks.taskfile.gotemplate.sprig_data import REFUSED
from sandbox.web import Call, Surface
from sandbox.yardstick.walkthrough import BEYOND, load_walkthrough

PAGE = Path(coverage.__file__).with_name("COVERAGE.md")


async def answer(call: Call) -> web.StreamResponse:
    """Do | say something."""
    return web.Response()


def test_the_page_in_the_repository_is_what_the_operations_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == coverage.render(coverage.all_surfaces()), "run `make coverage`"


def test_what_the_sandbox_refuses_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    refused = [row.what for row in read_rows() if row.refuses]
    refused += [name for names in REFUSED.values() for name in names]
    refused += [f"`{field}`" for field in refused_fields()]
    refused += [f"az {command.run}" for command in load_walkthrough(BEYOND).command if command.refused]
    assert len(refused) > 60
    assert [one for one in refused if one not in page] == []


def test_every_operation_says_what_it_does() -> None:
    silent = [o.pattern for surface in coverage.all_surfaces() for o in surface.operations if not o.summary]
    assert silent == []


def test_no_two_surfaces_answer_for_the_same_hosts() -> None:
    hosts = [surface.hosts.pattern for surface in coverage.all_surfaces()]
    assert len(hosts) == len(set(hosts))


def test_methods_of_one_path_that_do_the_same_share_a_row_and_long_lists_of_versions_a_letter() -> None:
    surface = Surface("Things", r"things\.example")
    versions = ("2021-01-01", "2022-01-01", "2023-01-01", "2024-01-01")
    for method in ("GET", "HEAD"):
        surface.operation(method, "/things/{name}", versions=versions)(answer)
    surface.operation("PUT", "/things/{name}", versions=["2021-01-01"])(answer)
    page = coverage.render([surface])
    assert "api-versions A: 2021-01-01, 2022-01-01, 2023-01-01, 2024-01-01" in page
    assert "| GET, HEAD | `/things/{name}` | A | Do \\| say something. |" in page
    assert "| PUT | `/things/{name}` | 2021-01-01 | Do \\| say something. |" in page


def test_nothing_of_the_machine_or_the_moment_is_on_the_page() -> None:
    page = coverage.render(coverage.all_surfaces())
    assert re.search(r"/tmp/|127\.0\.0\.1:\d|/home/|/work/", page) is None
