"""Files that only their owner can read, and the secrets that are kept in them."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from sandbox.authority import Authority
from sandbox.entra import Issuer
from sandbox.instance import Instance, Settings, read_settings
from sandbox.private import has_content, stored_text, write_private
from sandbox.storage.account import open_account


def identity_header(folder: Path) -> str:
    return Issuer(folder).identity_header


def account_key(folder: Path) -> str:
    return open_account("store", folder / "account.key").key


def root_certificate(folder: Path) -> str:
    Authority(folder)
    return (folder / "ca.pem").read_text()


def root_key(folder: Path) -> str:
    Authority(folder)
    return (folder / "ca.key").read_text()


SECRETS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "identity header": ("identity-header", identity_header),
    "account key": ("account.key", account_key),
    "root certificate": ("ca.pem", root_certificate),
    "root key": ("ca.key", root_key),
}


@pytest.mark.parametrize(("file", "read"), SECRETS.values(), ids=SECRETS)
@pytest.mark.attack("a killed sandbox", "an empty password, from a secret half written", "empty is missing")
def test_a_secret_whose_file_a_killed_process_left_empty_is_made_anew(
    file: str, read: Callable[[Path], str], tmp_path: Path
) -> None:
    (tmp_path / file).touch(mode=0o600)
    secret = read(tmp_path)
    assert len(secret) > 40
    assert read(tmp_path) == secret
    assert stat.S_IMODE((tmp_path / file).stat().st_mode) == 0o600


def test_a_root_key_without_its_certificate_is_replaced_with_it(tmp_path: Path) -> None:
    before = root_key(tmp_path)
    (tmp_path / "ca.pem").unlink()
    after = root_key(tmp_path)
    assert after != before
    key = load_pem_private_key(after.encode(), password=None)
    certificate = load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    assert certificate.public_key() == key.public_key()


def test_empty_settings_are_the_defaults(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    instance.settings_file.touch()
    assert read_settings(instance) == Settings()


def test_a_file_is_replaced_as_a_whole_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    other, file = tmp_path / "other", tmp_path / "file"
    other.write_text("untouched")
    file.symlink_to(other)
    write_private(file, "first")
    write_private(file, b"second", durable=True)
    assert (file.read_text(), other.read_text()) == ("second", "untouched")
    assert stat.S_IMODE(file.lstat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError("no space left on the device")

    file = tmp_path / "file"
    write_private(file, "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_private(file, "new", durable=True)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


_KILLED = """
import os, signal, sys
from pathlib import Path
from sandbox.private import write_private
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
write_private(Path(sys.argv[1]), "a secret")
"""


@pytest.mark.attack("a killed sandbox", "secrets in files that nobody removes", "one name for the file beside")
def test_what_a_killed_process_left_beside_is_replaced_by_the_next_write(tmp_path: Path) -> None:
    file, other = tmp_path / "file", tmp_path / "other"
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", _KILLED, str(file)], check=False, cwd=Path(__file__).parents[2])
        assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [".file.new"]
    (tmp_path / ".file.new").rename(other)
    (tmp_path / ".file.new").symlink_to(other)
    write_private(file, "new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "new", "other": "a secret"}


def test_a_durable_file_is_on_disk_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[tuple[str, bool]] = []

    def note(descriptor: int) -> None:
        stored.append((Path(f"/proc/self/fd/{descriptor}").resolve().name, (tmp_path / "file").exists()))

    monkeypatch.setattr(os, "fsync", note)
    write_private(tmp_path / "file", "quick")
    assert stored == []
    (tmp_path / "file").unlink()
    write_private(tmp_path / "file", "durable", durable=True)
    assert stored == [(".file.new", False), (tmp_path.name, True)]


def test_a_text_is_created_once_and_stored(tmp_path: Path) -> None:
    texts = iter(("one", "two"))
    file = tmp_path / "folder" / "file"
    assert not has_content(file)
    assert [stored_text(file, lambda: next(texts)) for _ in range(2)] == ["one", "one"]
