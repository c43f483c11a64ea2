"""A scanner's report, of any known format, read from a stream in bounded memory."""

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from shared.findings.formats import FORMATS
from shared.findings.formats.reader import ReportReader, Scalar
from shared.findings.json_stream import JsonStream
from shared.findings.model import BrokenReport, Report

_READ_BYTES = 128 * 1024
_SCALAR_CHARACTERS = 1000


def read_report(stream: BinaryIO | Iterable[bytes], format: str = "") -> Report:
    """Read a report.

    Args:
        stream: its bytes: a file, or pieces of any size.
        format: its format, a key of `FORMATS`; "": told by the first key that only one format has.

    Raises:
        BrokenReport: it cannot be judged, whatever the reason; nothing else is raised for anything that stands in it.
            What reading the stream itself raises goes through.
    """
    document = JsonStream(_pieces(stream))
    reader = _reader(format) if format else None
    opening = document.next_character()
    if opening == "[":
        return _read_list(document, reader)
    if opening != "{":
        raise BrokenReport("the report is a single value, and says neither what was scanned nor with what")
    return _read_object(document, reader)


def _read_object(document: JsonStream, reader: ReportReader | None) -> Report:
    scalars: dict[str, Scalar] = {}
    for key in document.members():
        if reader is None and (detected := _format_of(key)):
            reader = FORMATS[detected]()
        if document.next_character() not in "{[":
            scalars[key[:_SCALAR_CHARACTERS]] = _short(document.value())
        elif reader is not None:
            reader.container(key, document)
    document.end()
    if reader is None:
        raise BrokenReport(f"the report is of no known format: {', '.join(FORMATS)}")
    return reader.report(scalars)


def _read_list(document: JsonStream, reader: ReportReader | None) -> Report:
    if reader is None:
        reader = next(known() for known in FORMATS.values() if known.may_be_list)
    if not reader.may_be_list:
        raise BrokenReport(f"the report is a list: one of the format {reader.format} is an object")
    for _ in document.elements():
        reader.element(document)
    document.end()
    return reader.report({})


def _reader(format_: str) -> ReportReader:
    if format_ not in FORMATS:
        raise BrokenReport(f"the report is said to be of the format {format_}; known formats: {', '.join(FORMATS)}")
    return FORMATS[format_]()


def _format_of(key: str) -> str:
    return next((name for name, known in FORMATS.items() if key in known.keys), "")


def _short(value: Scalar) -> Scalar:
    return value[:_SCALAR_CHARACTERS] if isinstance(value, str) else value


def _pieces(stream: BinaryIO | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(stream, Iterable) and not hasattr(stream, "read"):
        yield from stream
        return
    while piece := stream.read(_READ_BYTES):
        yield piece
