"""The temporary folder that a killed engine left: what is taken for it, and what is not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sandbox.engine import EngineError, Podman
from sandbox.engine.command import CommandLine
from sandbox.engine.mounts import mounts_below
from sandbox.engine.runtime_folder import noted_folder, short_folder
from sandbox.engine.store import Store
from sandbox.tests.engine_bench import Bench

_STRANGER = 65533


def noted(tmp_path: Path, text: str) -> Path | None:
    note = tmp_path / "note"
    note.write_text(text)
    return noted_folder(note)


def test_the_folder_that_was_noted_is_found_while_it_is_there(tmp_path: Path) -> None:
    folder = short_folder()
    assert noted(tmp_path, str(folder)) == folder
    folder.rmdir()
    assert noted(tmp_path, str(folder)) is None


@pytest.mark.parametrize("text", ["", ".", "bg-relative", "/", "{}/file", "{}/bg-link", "{}/bg-file", "{}/bg-\0"])
def test_what_cannot_be_the_folder_of_an_engine_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bg-relative").mkdir()
    (tmp_path / "bg-file").touch()
    (tmp_path / "bg-link").symlink_to(tmp_path)
    assert noted(tmp_path, text.format(tmp_path)) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
@pytest.mark.attack("another local user", "a folder in /tmp in the place of the engine's", "its owner")
def test_the_folder_of_another_user_is_not_taken_for_the_engine_s(tmp_path: Path) -> None:
    folder = tmp_path / "bg-taken"
    folder.mkdir()
    assert noted(tmp_path, str(folder)) == folder
    os.chown(folder, _STRANGER, _STRANGER)
    assert noted(tmp_path, str(folder)) is None


@pytest.mark.containers
@pytest.mark.attack("a killed sandbox", "to have its working directory deleted", "what is noted is checked")
def test_an_engine_that_finds_an_empty_note_deletes_nothing_else_and_leaves_nothing_if_it_does_not_start(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def make() -> Path:
        made.append(short_folder())
        return made[-1]

    def fail(store: Store, podman: CommandLine) -> None:
        (bench.root / "left").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", bench.root / "left"], check=True)
        raise EngineError("no cache")

    here, note = tmp_path / "here", bench.root / "runtime-folder"
    here.mkdir()
    (here / "file").write_text("kept")
    monkeypatch.chdir(here)
    bench.run(bench.engine.close())
    note.write_text("")
    monkeypatch.setattr("sandbox.engine.podman.short_folder", make)
    monkeypatch.setattr("sandbox.engine.podman.LayerCache", fail)
    with pytest.raises(EngineError, match="no cache"):
        bench.run(Podman(bench.root, bench.live.instance.key, bench.live.environment).start())
    assert (here / "file").read_text() == "kept"
    assert mounts_below(bench.root) == []
    assert len(made) == 2  # in the place of the one that was noted, and its own
    assert not any(folder.exists() for folder in (*made, note))
