"""Files that take long to read: longer ones are refused with the limit, and meanwhile everything else goes on."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from sandbox.tasks.requests import EncodedTaskStep, FileTaskStep
from sandbox.tasks.runner.stages import used_images
from sandbox.tasks.runs.taskfile import read_alias_file, read_task
from sandbox.tasks.taskfile.model import TaskFileError
from sandbox.tasks.taskfile.parser import load_task_file
from sandbox.tests.tasks_world import GROUP, REGISTRY, World, world
from sandbox.tests.test_tasks_runner import RUN, Bench
from sandbox.web import Fault

__all__ = ["world"]

HEAVY = "steps:\n- cmd: app\n  env: [a" + ",a" * 8_000 + "]\n"
MANY_FROM = "".join(f"FROM a AS b{number}\n" for number in range(25_000))


def sparse(file: Path, size: int) -> Path:
    with file.open("wb") as opened:
        opened.truncate(size)
    return file


@pytest.mark.attack("a task file", "gigabytes, as a task file, values, aliases", "a limit of bytes")
def test_a_file_that_is_too_long_is_refused_with_its_limit(tmp_path: Path) -> None:
    sparse(tmp_path / "large.yaml", 4 << 30)
    (tmp_path / "small.yaml").write_text("steps: []\n")
    text = base64.b64encode(b"#" * 262_145).decode()
    for step, named in (
        (FileTaskStep(task_file_path="large.yaml"), "The file 'large.yaml'"),
        (FileTaskStep(task_file_path="small.yaml", values_file_path="large.yaml"), "The file 'large.yaml'"),
        (EncodedTaskStep(encoded_task_content=text), "'encodedTaskContent'"),
        (EncodedTaskStep(encoded_task_content="", encoded_values_content=text), "'encodedValuesContent'"),
    ):
        with pytest.raises(Fault, match=f"{named} has more than 262144 bytes"):
            read_task(step, tmp_path)
    with pytest.raises(ValueError, match="has more than 262144 bytes"):
        read_alias_file(tmp_path, "large.yaml")
    sparse(tmp_path / "large.yaml", 262_144)
    assert len(read_task(FileTaskStep(task_file_path="large.yaml"), tmp_path)[0]) == 262_144


@pytest.mark.attack("a task file", "links in a circle, as a task file", "they are no file")
def test_links_in_a_circle_are_no_file_of_a_context(tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to("there")
    (tmp_path / "there").symlink_to("here")
    with pytest.raises(Fault, match="The context has no file 'here'"):
        read_task(FileTaskStep(task_file_path="here"), tmp_path)


@pytest.mark.attack("a task file", "a long document, made by a template of one line", "a limit of characters")
def test_what_a_template_makes_is_limited_before_it_is_parsed() -> None:
    with pytest.raises(TaskFileError, match="the rendered file has more than 262144 characters"):
        load_task_file("steps: [{{range until 9000}}'" + "a" * 30 + "',{{end}}]\n", RUN, {})


@pytest.mark.attack("a Dockerfile", "gigabytes, as a Dockerfile", "a limit of bytes")
@pytest.mark.parametrize("step", ["build: -t x .", "cmd: docker build -t x ."])
def test_a_dockerfile_that_is_too_long_is_refused_with_its_limit(tmp_path: Path, step: str) -> None:
    context = tmp_path / "context"
    context.mkdir()
    sparse(context / "Dockerfile", 4 << 30)
    bench = Bench(context)
    assert "Dockerfile has more than 1048576 bytes" in bench.play(f"steps:\n- {step}\n").error
    assert bench.engine.store.builds == []


@pytest.mark.attack("a Dockerfile", "thousands of images to pull", "a limit of images")
def test_a_dockerfile_with_too_many_images_is_refused_with_the_limit(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(
        "".join(f"FROM a{number}\nCOPY --from=b{number} / /\n" for number in range(101))
    )
    bench = Bench(context)
    problem = "the Dockerfile names 202 images: the sandbox builds from 200 at most"
    assert problem in bench.play("steps:\n- build: -t x .\n").error
    assert bench.engine.store.calls == []


@pytest.mark.attack("a task file", "to keep the sandbox from answering, while it is read", "files are read in threads")
def test_the_sandbox_answers_while_a_task_file_is_read(world: World) -> None:
    began = time.thread_time()
    load_task_file(HEAVY, RUN, {})
    alone = time.thread_time() - began
    content = base64.b64encode(HEAVY.encode()).decode()
    request = {"type": "EncodedTaskRunRequest", "encodedTaskContent": content, "platform": {"os": "linux"}}

    async def longest_pause() -> float:
        beating = asyncio.ensure_future(_longest_pause())
        while not world.runner.ran:
            await asyncio.sleep(0.01)
        beating.cancel()
        return await beating

    world.client.registries.schedule_run(GROUP, REGISTRY, request)
    assert world.live.run(longest_pause()) < alone / 2
    world.release()
    assert world.ended("ca1").status == "Succeeded"


@pytest.mark.attack("a Dockerfile", "to keep the sandbox from answering, while it is read", "files are read in threads")
def test_the_sandbox_answers_while_a_dockerfile_is_read(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(MANY_FROM)
    began = time.thread_time()
    used_images(MANY_FROM, {})
    alone = time.thread_time() - began
    bench = Bench(context)

    async def play(work: Coroutine[Any, Any, Any]) -> float:
        beating = asyncio.ensure_future(_longest_pause())
        await work
        beating.cancel()
        return await beating

    assert asyncio.run(play(bench.start("steps:\n- cmd: docker build -t x .\n"))) < alone / 2
    assert len(bench.engine.store.builds) == 1


async def _longest_pause() -> float:
    """The longest that the event loop served nothing else, until it is cancelled.

    In CPU seconds of its thread: how busy the machine is does not count.
    """
    longest, before = 0.0, time.thread_time()
    try:
        while True:
            await asyncio.sleep(0.002)
            now = time.thread_time()
            longest, before = max(longest, now - before), now
    except asyncio.CancelledError:
        return longest
