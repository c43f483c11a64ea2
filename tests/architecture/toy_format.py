"""A toy format of reports, as one more file in `shared/findings/formats`: a list of smells."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from shared.findings.formats.reader import ReportReader, Scalar
from shared.findings.gathering import Gathering, severity_of
from shared.findings.json_stream import JsonStream
from shared.findings.model import Finding, Report, Scanner


class _Smell(Struct):
    smell: str
    thing: str
    strength: str = ""


class NoseReader(ReportReader):
    """Reads what a nose wrote."""

    format = "nose"
    keys = frozenset(("nose", "smells"))

    def __init__(self) -> None:
        self._gathering = Gathering()

    def container(self, key: str, stream: JsonStream) -> None:
        """See `ReportReader`."""
        if key == "smells":
            for _ in stream.elements():
                read, keep = stream.take(_Smell), self._gathering
                package = keep.package(read.thing, "", "", "", "")
                finding = Finding(
                    vulnerability=keep.text(read.smell), package=package, severity=severity_of(read.strength)
                )
                keep.add(finding)

    def report(self, scalars: Mapping[str, Scalar]) -> Report:
        """See `ReportReader`."""
        scanner = Scanner(name=self._gathering.text(str(scalars.get("nose"))))
        return Report(format=self.format, scanner=scanner, findings=self._gathering.findings)
