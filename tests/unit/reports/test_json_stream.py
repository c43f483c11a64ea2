"""A document is read forward, whatever pieces it comes in, and in little memory."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from shared.findings import json_stream
from shared.findings.json_stream import ELEMENT_LIMIT_CHARACTERS, JsonStream
from shared.findings.model import BrokenReport

DOCUMENT: dict[str, Any] = {"list": [1, 22.5, {"x": "é€😀"}], "left": {"c": [[], {}]}, "number": -12e3, "none": None}


def _entered(stream: JsonStream) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for key in stream.members():
        if key == "list":
            read[key] = [stream.value() for _ in stream.elements()]
        elif key != "left":
            read[key] = stream.value()
    stream.end()
    return read


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_it_does_not_matter_where_pieces_end(size: int, mark: bytes) -> None:
    data = mark + json.dumps(DOCUMENT, ensure_ascii=False, indent=1).encode() + b"\n"
    read = _entered(JsonStream(data[start : start + size] for start in range(0, len(data), size)))
    assert read == {key: value for key, value in DOCUMENT.items() if key != "left"}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty"),
        (b" \n", "is cut off"),
        (b"[", "has no {"),
        (b"{", "is cut off"),
        (b'{"a"', "is cut off"),
        (b'{"a":', "is cut off"),
        (b'{"a": 1', "is cut off"),
        (b'{"a": 1,', "is cut off"),
        (b'{"a": 1,}', "has no key"),
        (b'{"a": 1 "b": 2}', "has no ,"),
        (b'{"a": [1,]}', "no valid JSON"),
        (b'{"a": "x', "no valid JSON, or is cut off"),
        (b"{1: 2}", "has no key"),
        (b'{"a": 1} x', "continues after its end"),
        (b'{"a": 1}{"a": 1}', "continues after its end"),
        (b'{"a": NaN}', "has NaN"),
        (b'{"a": [-Infinity]}', "has -Infinity"),
        (b'{"a": "\t"}', "no valid JSON"),
        (b"{'a': 1}", "has no key"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "a number of thousands of digits"),
        (b'{"a": ' + b"[" * 50_000, "nested too deeply"),
        (b'{"a": 1, "a": 2}', "has the key 'a' twice"),
        (b'{"left": {"b": 1, "b": 2}}', "has the key 'b' twice"),
        (b'{"a": "\xff"}', "no UTF-8"),
        (b'{"a": "\xc3', "no UTF-8 text, or is cut off"),
        ('{"a": 1}'.encode("utf-16"), "no UTF-8"),
    ],
)
def test_what_is_no_json_is_broken_and_the_text_says_why(data: bytes, problem: str) -> None:
    with pytest.raises(BrokenReport, match=problem):
        _entered(JsonStream([data]))


def test_a_long_list_is_left_out_without_its_memory() -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"left": ['
        yield from [b'{"name": ["' + b"x" * 500 + b'", "b"], "more": {"x": 1.5}}, '] * 6_000
        yield b'{}], "number": 1}'

    tracemalloc.start()
    try:
        assert _entered(JsonStream(pieces())) == {"number": 1}
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_one_element_may_be_large_but_not_without_a_limit() -> None:
    half = "x" * (ELEMENT_LIMIT_CHARACTERS // 2)
    pieces = [json.dumps({"list": [half, half, half, 1], "number": 2}).encode()]
    assert _entered(JsonStream(pieces)) == {"list": [half, half, half, 1], "number": 2}
    with pytest.raises(BrokenReport, match="an element of more than 2,097,152 characters at character 10"):
        _entered(JsonStream([json.dumps({"list": [half * 3]}).encode()]))


def test_one_element_may_not_have_more_values_than_fit_into_memory() -> None:
    pieces = [b'{"list": [[', *[b"[]," * 10_000] * 20, b"1]]}"]
    with pytest.raises(BrokenReport, match="an element of more than 100,000 values"):
        _entered(JsonStream(pieces))


def test_a_document_and_an_object_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"k{number}": number for number in range(11_000)}
    with pytest.raises(BrokenReport, match="an object with more than 10,000 keys"):
        _entered(JsonStream([json.dumps(many).encode()]))
    monkeypatch.setattr(json_stream, "LIMIT_BYTES", 1024**2)
    with pytest.raises(BrokenReport, match="larger than 1 MB"):
        _entered(JsonStream([b"{", *[b" " * 1000] * 1100, b"}"]))


def test_what_the_source_of_the_pieces_raises_goes_through() -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"number": 1, '
        raise ConnectionResetError("the registry is away")

    with pytest.raises(ConnectionResetError):
        _entered(JsonStream(pieces()))
