"""What tests need of npm is installed from its lock file, and never half."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from tests.architecture.tree import ROOT


@pytest.fixture
def needs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, on a machine that has everything but the packages of npm; its npm brings one file."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import browser_needs  # type: ignore[import-not-found]

    def npm(command: Sequence[str]) -> None:
        assert command[:3] == ["npm", "ci", "--ignore-scripts"]
        (Path(command[-1]) / "axe.min.js").write_text("axe")

    monkeypatch.setattr(browser_needs, "run", npm)
    monkeypatch.setattr(browser_needs.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert isinstance(browser_needs, ModuleType)
    return browser_needs


def test_what_is_half_installed_or_of_another_lock_file_is_replaced(needs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "browser.new" / "rest").mkdir(parents=True)
    (tmp_path / "browser" / "old").mkdir(parents=True)
    (tmp_path / "browser" / "package-lock.json").write_text("{}")
    needs.main(tmp_path)
    assert sorted(path.name for path in (tmp_path / "browser").iterdir()) == [
        "axe.min.js",
        "package-lock.json",
        "package.json",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["browser", "sigstore_js"]


def test_where_everything_is_there_nothing_is_done(
    needs: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs.main(tmp_path)
    assert capsys.readouterr().out != ""
    needs.main(tmp_path)
    assert capsys.readouterr().out == ""
