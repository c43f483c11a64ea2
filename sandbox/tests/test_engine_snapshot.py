"""A build's own tree of its context: the same files, and no link that appears meanwhile is followed."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from sandbox.engine import EngineError, ImageBuild, RunContainer
from sandbox.engine.snapshot import take_snapshot
from sandbox.tests.engine_bench import Bench


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "src" / "empty").mkdir(parents=True)
    (folder / "src" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "src" / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("src/run.sh")
    (folder / "away").symlink_to("/etc")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("secret")
    os.utime(folder / "src", ns=(1, 2))
    return folder


def tree(folder: Path) -> dict[str, Any]:
    """Every path with its mode, and a file's content or a link's goal; a folder's time, too."""
    found: dict[str, Any] = {}
    for path in [folder, *folder.rglob("*")]:
        state = path.lstat()
        if path.is_symlink():
            content: Any = str(path.readlink())
        else:
            content = path.read_bytes() if path.is_file() else state.st_mtime_ns
        found[str(path.relative_to(folder))] = stat.filemode(state.st_mode), content
    return found


def refuse_links(*_: Any, **__: Any) -> None:
    raise OSError(errno.EXDEV, "Invalid cross-device link")


@pytest.mark.parametrize("other_file_system", [False, True])
def test_a_snapshot_is_the_same_tree_and_keeps_it(
    context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_file_system: bool
) -> None:
    if other_file_system:
        monkeypatch.setattr(os, "link", refuse_links)
    before = tree(context)
    take_snapshot(context, tmp_path / "own" / "context")
    (context / "src" / "run.sh").unlink()
    (context / "src").rename(context / "moved")
    (context / "src").symlink_to(tmp_path / "secret")
    assert tree(tmp_path / "own" / "context") == before


@pytest.mark.parametrize("replaced", ["context", "context/src"])
def test_a_context_below_a_folder_that_became_a_link_is_refused(context: Path, tmp_path: Path, replaced: str) -> None:
    wanted = context / "src"
    (tmp_path / replaced).rename(tmp_path / "before")
    (tmp_path / replaced).symlink_to(tmp_path / "before")
    with pytest.raises(EngineError, match="cannot be read"):
        take_snapshot(wanted, tmp_path / "own")


@pytest.mark.attack(
    "a task's container", "a link in the place of a folder, while it is read", "folders are opened without links"
)
def test_a_folder_that_becomes_a_link_while_it_is_read_is_refused(
    context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def replace_first(path: Any, *rest: Any, **options: Any) -> int:
        if path == "src" and not (context / "src").is_symlink():
            (context / "src").rename(context / "moved")
            (context / "src").symlink_to(tmp_path / "secret")
        return opened(path, *rest, **options)

    monkeypatch.setattr(os, "open", replace_first)
    with pytest.raises(EngineError, match="cannot be read"):
        take_snapshot(context, tmp_path / "own")
    assert not (tmp_path / "own" / "src" / "key").exists()


def test_folders_without_end_are_refused(tmp_path: Path) -> None:
    context = tmp_path / "context"
    (context / "/".join("d" * 202)).mkdir(parents=True)
    with pytest.raises(EngineError, match="more than 200 folders"):
        take_snapshot(context, tmp_path / "own")


@pytest.mark.attack(
    "a task's container", "a link in the place of the context of a build", "a build's own tree of the context"
)
@pytest.mark.containers
def test_a_build_whose_context_a_detached_container_replaced_by_a_link_takes_nothing_from_behind_it(
    bench: Bench, tmp_path: Path
) -> None:
    (bench.context / "app").mkdir()
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")

    async def play() -> int:
        store = await bench.engine.prepare_run("ca1", {})
        image = await bench.base(store)
        swap = f"cd /workspace; /bin/busybox mv app was; /bin/busybox ln -s {secret} app; /bin/busybox sleep 60"
        beside = RunContainer(
            "beside", image, ("/bin/sh", "-c", swap), mounts={bench.context: "/workspace"}, detach=True
        )
        assert await store.run(beside, bench.out) == 0
        while not (bench.context / "app").is_symlink():
            await asyncio.sleep(0.02)
        build = ImageBuild(bench.context / "app", f"FROM {image}\nCOPY key /key\nRUN cat /key\n", ("app:1",))
        code = await store.build(build, bench.out)
        await store.close()
        return code

    assert bench.run(play()) == 1
    assert "secret" not in bench.lines
    assert any("The context of the build cannot be read" in line for line in bench.lines), bench.lines
