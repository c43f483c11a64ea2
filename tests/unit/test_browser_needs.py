"""What the browser tests need is taken only if it is what was looked at, and never half."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.architecture.tree import ROOT


@pytest.fixture
def needs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import browser_needs  # type: ignore[import-not-found]

    assert isinstance(browser_needs, ModuleType)
    return browser_needs


def archive(text: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as opened:
        entry = tarfile.TarInfo("package/axe.min.js")
        entry.size = len(text)
        opened.addfile(entry, io.BytesIO(text))
    return packed.getvalue()


def test_a_package_that_is_not_the_one_that_was_looked_at_is_refused(needs: ModuleType) -> None:
    with pytest.raises(SystemExit, match="is not what it was"):
        needs.verified(archive(b"something else"))


def test_what_stood_half_unpacked_is_replaced(needs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "axe.new" / "rest").mkdir(parents=True)
    (tmp_path / "axe" / "old").mkdir(parents=True)
    needs.unpack(archive(b"axe"), tmp_path / "axe")
    assert (tmp_path / "axe" / "package" / "axe.min.js").read_bytes() == b"axe"
    assert [path.name for path in tmp_path.iterdir()] == ["axe"]


def test_where_everything_is_there_nothing_is_done(
    needs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs.unpack(archive(b"axe"), tmp_path / "axe")
    monkeypatch.setattr(needs.shutil, "which", lambda name: f"/usr/bin/{name}")
    needs.main(tmp_path)
    assert capsys.readouterr().out == ""
