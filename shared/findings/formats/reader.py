"""The interface of every format: `read_report` knows formats only by it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from shared.findings.json_stream import JsonStream
from shared.findings.model import Report

Scalar = str | int | float | bool | None


class ReportReader(ABC):
    """Reads one report. Each method raises `BrokenReport`, and nothing else, whatever the report holds."""

    format: ClassVar[str]
    """Its key in `FORMATS`."""

    keys: ClassVar[frozenset[str]]
    """The keys of the document that no other format has: the first one tells which format it is."""

    may_be_list: ClassVar[bool] = False
    """Whether the document may be a list; then `element` is called for each of its elements."""

    @abstractmethod
    def container(self, key: str, stream: JsonStream) -> None:
        """Read an object or a list of the document; one that is not taken from the stream is skipped."""

    def element(self, stream: JsonStream) -> None:
        """Read an element of a document that is a list."""
        stream.skip()

    @abstractmethod
    def report(self, scalars: Mapping[str, Scalar]) -> Report:
        """The report that was read; `scalars` are the texts and numbers of the document."""
