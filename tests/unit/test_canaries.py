"""The search for secrets that the story is held against: it finds what it is for, in every form."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.canaries import files_of, search, texts_in

SECRET = 'p+4/f=_-"x&0123456789abcdefgh'


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        quote(SECRET, safe=""),
        json.dumps({"value": SECRET}),
        json.dumps({"value": json.dumps({"value": SECRET})}),
        *(base64.b64encode(b"u" * shift + SECRET.encode() + b":and more").decode() for shift in range(6)),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        SECRET.encode().hex(),
    ],
)
def test_a_secret_is_found_in_every_form_that_programs_write(text: str) -> None:
    found = search({"the key": SECRET}, [("quiet", b"nothing"), ("log", f"INFO key={text}\n".encode())])
    assert {(one.where, one.secret) for one in found} == {("log", "the key")}


@pytest.mark.parametrize(
    "issued", ["a?sv=1&sig=abcdefghijklmnopqrstuvwxyz%2B%3D", "eyJhbGciOiJIUzI1.eyJhdWQiOiJ4.c2lnbmF0dXJl"]
)
def test_signatures_and_tokens_are_found_whoever_issued_them(issued: str) -> None:
    (found,) = search({}, [("log", f"GET {issued} HTTP/1.1".encode())])
    assert search({}, [("log", issued.encode())], known=[found.form]) == []
    assert search({}, [("log", b"a?sv=1&sig=*** eyJhbGciOi")]) == []


def test_files_are_searched_packed_or_not_but_those_that_may_hold_a_secret(tmp_path: Path) -> None:
    for name in ("logs/app.log", "secrets/token.key", "registry/data/layer"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "logs/app.log").write_text(SECRET)
    (tmp_path / "secrets/token.key").write_text(SECRET)
    (tmp_path / "registry/data/layer").write_bytes(gzip.compress(f"layer {SECRET}".encode()))
    found = {one.where for one in search({"the key": SECRET}, files_of(tmp_path))}
    assert found == {"logs/app.log", "registry/data/layer, unpacked"}


def test_every_string_of_a_row_is_searched() -> None:
    row = {"a": [1, {"b": SECRET}], SECRET[::-1]: b"bytes"}
    assert {SECRET.encode(), SECRET[::-1].encode(), b"bytes"} < set(texts_in(row).split(b"\n"))
