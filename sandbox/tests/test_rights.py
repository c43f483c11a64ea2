"""Whose rights the processes have that need no root, and what changes its owner with them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.rights import Rights, User, UserError, choose_rights, read_foreign

_KEY = "0badcafe"
_NOBODY = 65534
_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter: those of pytest are root's."""
    with tempfile.TemporaryDirectory(prefix="bg-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def nobody() -> User:
    user = choose_rights("nobody", _KEY, []).user
    assert user
    return user


@_ROOT
@pytest.mark.parametrize(
    ("asked", "behind", "sentence"),
    [
        (None, "65534", "run as nobody (uid 65534)."),
        (None, "", "run as root, because no user is behind it: `up --user NAME` names one."),
        (None, "0", "run as root, because no user is behind it: `up --user NAME` names one."),
        (None, "4000000", "run as root, because no user is behind it: `up --user NAME` names one."),
        ("root", "65534", "run as root, as --user says."),
        ("nobody", "", "run as nobody (uid 65534)."),
    ],
)
def test_the_user_is_the_one_asked_for_or_the_one_behind_sudo_and_is_told(
    asked: str | None, behind: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", behind)
    assert sentence in choose_rights(asked, _KEY, [("-r", Path("/etc/passwd"))]).sentence


@_ROOT
def test_a_user_who_cannot_reach_what_is_needed_is_refused_if_asked_for_and_else_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = [("-x", Path("/bin/sh")), ("-r", tmp_path / "state")]
    with pytest.raises(UserError, match=f"The user nobody cannot reach {tmp_path}/state: change its mode"):
        choose_rights("nobody", _KEY, needed)
    with pytest.raises(UserError, match="There is no user 'nowhere-to-be-found' on this machine"):
        choose_rights("nowhere-to-be-found", _KEY, [])
    monkeypatch.setenv("SUDO_UID", str(_NOBODY))
    chosen = choose_rights(None, _KEY, needed)
    assert chosen.user is None
    assert f"because nobody, who is behind it, cannot reach {tmp_path}/state." in chosen.sentence


@_ROOT
def test_only_these_processes_enter_the_state_folder_and_only_servers_the_folders_of_servers(open_folder: Path) -> None:
    rights = Rights(nobody())
    inner = open_folder / "state" / "servers"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    rights.open_to_all(inner.parent)
    rights.open_to_servers(inner)

    def entering(folder: Path, **options: object) -> bool:
        return subprocess.run(["/usr/bin/test", "-x", str(folder)], check=False, **options).returncode == 0  # type: ignore[call-overload,no-any-return]

    plain = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
    for options, expected in ((plain, (False, False)), (rights.app(), (True, False)), (rights.server(), (True, True))):
        assert (entering(inner.parent, **options), entering(inner, **options)) == expected


@_ROOT
def test_the_variables_of_this_process_that_may_be_secret_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_PASSWORD", "secret")
    monkeypatch.setenv("TMPDIR", "/root/tmp")
    as_user, as_root = Rights(nobody()).environment(), Rights().environment()
    assert as_user.keys() <= {"PATH", "LANG", "LC_ALL", "HOME", "USER", "LOGNAME"}
    assert (as_user["HOME"], as_user["USER"]) == (nobody().home, "nobody")
    assert as_root["TMPDIR"] == "/root/tmp"
    assert "REGISTRY_PASSWORD" not in as_root


@_ROOT
@pytest.mark.attack(
    "a function app", "a file of root, through a link in a folder that is given away", "only its old owner's files"
)
def test_a_folder_is_given_away_with_what_its_owner_had_in_it_and_nothing_else(tmp_path: Path) -> None:
    secret, folder = tmp_path / "secret", tmp_path / "folder"
    secret.touch()
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "file").touch()
    folder.chmod(0o700)
    for place in (folder, folder / "inner", folder / "inner" / "file"):
        os.chown(place, 65533, 65533)
    (folder / "symbolic").symlink_to(secret)
    os.link(secret, folder / "hard")
    Rights(nobody()).give(folder)
    assert [place.stat().st_uid for place in (folder, folder / "inner", folder / "inner" / "file")] == [_NOBODY] * 3
    assert secret.stat().st_uid == 0
    Rights(nobody()).take(folder)
    assert {(place.lstat().st_uid, place.lstat().st_gid) for place in (folder, *folder.rglob("*"))} == {(0, 0)}


@_ROOT
@pytest.mark.attack(
    "a function app", "a file of its user's, as another name of it in a folder that root takes", "its number of names"
)
def test_a_file_that_has_another_name_elsewhere_keeps_its_owner(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    folder.mkdir()
    for file in (elsewhere, folder / "own"):
        file.touch()
    os.link(elsewhere, folder / "hard")
    for place in (elsewhere, folder / "own", folder):
        os.chown(place, _NOBODY, _NOBODY)
    Rights(nobody()).take(folder)
    assert [place.stat().st_uid for place in (elsewhere, folder / "own", folder)] == [_NOBODY, 0, 0]


def test_without_another_user_a_folder_stays_as_it_is_and_is_made_if_missing(tmp_path: Path) -> None:
    rights, folder = Rights(), tmp_path / "made"
    rights.give(folder)
    modes = folder.stat().st_mode
    for change in (rights.open_to_all, rights.open_to_servers, rights.open, rights.show_servers):
        change(folder)
    assert folder.stat().st_mode == modes
    assert (rights.app(), rights.server(), rights.command("git", "add")) == ({}, {}, ("git", "add"))


@pytest.mark.attack("a function app", "a file of root, or a pipe without an end, as its own answer", "its kind")
def test_only_a_file_of_another_s_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(2 << 20)
    assert read_foreign(tmp_path / "file") == b"content"
    for refused in ("link", "pipe", "large", "missing", "."):
        with pytest.raises(OSError, match=refused if refused != "." else "directory|no file"):
            read_foreign(tmp_path / refused)
