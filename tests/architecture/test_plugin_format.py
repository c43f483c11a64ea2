"""A format of reports is one file and its entry in `FORMATS`: a toy is used."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from shared.findings import formats
from shared.findings.formats.reader import ReportReader
from shared.findings.model import BrokenReport, Severity
from shared.findings.read import read_report
from tests.architecture.toy_format import NoseReader

SMELLS = b'{"version": 3, "nose": "Rex", "smells": [{"smell": "mould", "thing": "bread", "strength": "high"}], "x": []}'


def test_a_format_that_is_not_registered_is_not_known() -> None:
    with pytest.raises(BrokenReport, match=r"of no known format: trivy, grype, osv, sarif, cyclonedx$"):
        read_report([SMELLS])


@pytest.mark.parametrize("format_", ["", "nose"])
def test_a_toy_format_is_told_by_its_keys_and_read(monkeypatch: pytest.MonkeyPatch, format_: str) -> None:
    monkeypatch.setitem(formats.FORMATS, "nose", NoseReader)
    report = read_report([SMELLS], format_)
    assert (report.format, report.scanner.name) == ("nose", "Rex")
    assert [(one.vulnerability, one.package.name, one.severity) for one in report.findings] == [
        ("mould", "bread", Severity.HIGH)
    ]
    for broken in (SMELLS[:-20], SMELLS.replace(b'"bread"', b"7"), b"[]"):
        with pytest.raises(BrokenReport):
            read_report([broken], "nose")


def test_every_format_is_registered() -> None:
    modules = [
        importlib.import_module(f"{formats.__name__}.{one.name}") for one in pkgutil.iter_modules(formats.__path__)
    ]
    readers = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, ReportReader) and value is not ReportReader
    }
    assert readers == set(formats.FORMATS.values())


def test_no_key_tells_of_two_formats() -> None:
    keys = [key for reader in formats.FORMATS.values() for key in reader.keys]
    assert len(keys) == len(set(keys))
