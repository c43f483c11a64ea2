"""What documents, samples and ignore files say is true."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from shared.adapters.listeners import KINDS
from shared.settings import HINT_QUEUE, WORK_QUEUE, setting_names
from tests.architecture.tree import ROOT, files, name

DOCUMENTS = sorted(files(".md"))
HOST_SETTINGS = {"FUNCTIONS_WORKER_RUNTIME"}
COMMAND_LINE_SETTINGS = {"BASEGATE_URL", "BASEGATE_KEY", "BASEGATE_REGISTRY_PASSWORD"}
SHIPPED_FOLDERS = {"functions", "shared"}
NEEDED_TO_RUN = ("function_app.py", "host.json", "requirements.txt", "gates.yaml", *SHIPPED_FOLDERS)

LINE_LENGTH = 120
GENERATED = ("COVERAGE.md", "coverage_preface.md")
_NO_PROSE = ("|", "!", "#", "<", "  <", "    ")
"""Tables, pictures, headings and code have a line each, however long."""

_SUFFIXES = ("py", "md", "yaml", "yml", "json", "toml", "txt", "bicep", "sh", "cfg")
_CODE = re.compile(r"(?<!\bno )`([^`\n]+)`")
"""What stands in backticks, but not what a document says is not there."""

_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"(?:\./)?[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*/?")


def ignored(path: str, rules: str) -> bool:
    """Whether a file of gitignore rules covers a path at the root (names and globs; the rules here use no more)."""
    patterns = [line.strip() for line in (ROOT / rules).read_text(encoding="utf-8").splitlines()]
    rooted = [pattern.strip("/") for pattern in patterns if pattern and not pattern.startswith(("#", "!"))]
    return any(fnmatchcase(path, pattern) for pattern in rooted)


def named_paths(document: Path) -> set[str]:
    """The paths that a document writes in backticks."""
    prose = _FENCED.sub("", document.read_text(encoding="utf-8"))
    top = {entry.name for entry in ROOT.iterdir()}
    found = set()
    for text in _CODE.findall(prose):
        if _PATH.fullmatch(text) is None:
            continue
        first, _, rest = text.removeprefix("./").partition("/")
        has_suffix = text.rpartition(".")[2] in _SUFFIXES and not text.startswith(".")
        if (rest and first in top) or (text.endswith("/") and first in top) or (has_suffix and "*" not in text):
            found.add(text)
    return found


def exists(path: str, document: Path) -> bool:
    """A path counts from the root or from the document; a bare name may be anywhere, or made by a user.

    A folder without a file is not in a fresh clone.
    """
    for place in (ROOT / path, document.parent / path):
        if place.is_file() or any(found.is_file() for found in place.rglob("*")):
            return True
    return "/" not in path and (ignored(path, ".gitignore") or any(True for _ in files(path)))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_path_that_a_document_names_exists(document: Path) -> None:
    assert {path for path in named_paths(document) if not exists(path, document)} == set()


@pytest.mark.parametrize("document", [file for file in DOCUMENTS if file.name not in GENERATED], ids=name)
def test_prose_fits_the_line(document: Path) -> None:
    prose = _FENCED.sub("", document.read_text(encoding="utf-8")).splitlines()
    assert [line for line in prose if len(line) > LINE_LENGTH and not line.startswith(_NO_PROSE)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_link_between_documents_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    local = {link for link in links if not re.match(r"[a-z]+:", link)}
    assert {link for link in local if not (document.parent / link).exists()} == set()


def test_the_sample_has_every_setting_and_no_other() -> None:
    sample = json.loads((ROOT / "local.settings.sample.json").read_text(encoding="utf-8"))
    assert set(sample["Values"]) == set(setting_names(KINDS)) | HOST_SETTINGS


def test_documents_name_settings_that_exist() -> None:
    for document in DOCUMENTS:
        named = set(re.findall(r"\bBASEGATE_[A-Z_]+\b", document.read_text(encoding="utf-8")))
        assert named <= set(setting_names(KINDS)) | COMMAND_LINE_SETTINGS, name(document)


@pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="there is no README yet")
def test_every_setting_is_documented() -> None:
    described = "\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    assert [setting for setting in setting_names(KINDS) if setting not in described] == []


def test_templates_name_the_queues_the_functions_listen_to() -> None:
    for template in files(".bicep"):
        text = template.read_text(encoding="utf-8")
        queues = set(re.findall(r"\bbasegate-(?:work|hints|steps)\b", text))
        assert queues <= {WORK_QUEUE, HINT_QUEUE}, name(template)


def test_nothing_but_the_app_is_shipped() -> None:
    folders = {entry.name for entry in ROOT.iterdir() if entry.is_dir()} - SHIPPED_FOLDERS
    folders.discard("__pycache__")  # the tools leave byte code out by themselves
    assert [folder for folder in sorted(folders) if not ignored(folder, ".funcignore")] == []
    for folder in ("tests", "sandbox", "demo", "samples", "docs", "bench", "infra", ".venv", ".git"):
        assert ignored(folder, ".funcignore"), folder


def test_what_the_app_needs_is_shipped() -> None:
    assert [path for path in NEEDED_TO_RUN if ignored(path, ".funcignore")] == []


def test_settings_of_a_machine_are_neither_kept_nor_shipped() -> None:
    for rules in (".gitignore", ".funcignore"):
        assert ignored("local.settings.json", rules), rules
