"""The grammar of image names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.domain.errors import Malformed
from shared.domain.image import ImageRef, parse_digest, parse_repository, parse_tag, short
from tests.fakes import digest

GOOD = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize("text", ["latest", "15-alpine", "_", "V1.2.3_rc.1", "a" * 128, "15-alpine-ca4"])
def test_a_tag_is_taken_as_it_is(text: str) -> None:
    assert parse_tag(text) == text


@pytest.mark.parametrize("text", ["", ".a", "-a", "a" * 129, "a b", "a:b", "a/b", "ä", "a\n", None, 15, b"a"])
def test_what_is_no_tag_is_refused(text: object) -> None:
    with pytest.raises(Malformed, match="is not a tag"):
        parse_tag(text)


@pytest.mark.parametrize("text", ["node", "library/node", "a.b/c_d/e__f/g---h", "0", "a" * 255])
def test_a_repository_is_taken_as_it_is(text: str) -> None:
    assert parse_repository(text) == text


@pytest.mark.parametrize(
    "text", ["", "Node", "/node", "node/", "a//b", "a..b", "a___b", "-a", "a-", "a" * 256, "a b", "a\n", None, 1]
)
def test_what_is_no_repository_is_refused(text: object) -> None:
    with pytest.raises(Malformed, match="is not a repository"):
        parse_repository(text)


@pytest.mark.parametrize(
    "text", ["", GOOD[:-1], GOOD + "0", GOOD.upper(), GOOD[7:], f"{GOOD}\n", f" {GOOD}", "sha512:" + "0" * 128, None]
)
def test_what_is_no_digest_is_refused(text: object) -> None:
    with pytest.raises(Malformed, match="is not a digest"):
        parse_digest(text)


@pytest.mark.parametrize("parse", [parse_digest, parse_tag, parse_repository])
def test_an_error_names_the_place_and_is_short(parse: Callable[[object, str], str]) -> None:
    with pytest.raises(Malformed) as caught:
        parse("!" * 10_000, "data.target.thing")
    assert caught.value.field == "data.target.thing"
    assert str(caught.value).startswith("data.target.thing: ")
    assert len(str(caught.value)) < 200


def test_no_repository_takes_long_to_refuse() -> None:
    with pytest.raises(Malformed):
        parse_repository("a" + "-a" * 126 + "!")


def test_an_image_is_written_by_digest() -> None:
    image = ImageRef("base.azurecr.io", parse_repository("library/node"), parse_digest(GOOD))
    assert str(image) == f"base.azurecr.io/library/node@{GOOD}"


def test_a_short_digest_is_twelve_digits_without_the_algorithm() -> None:
    assert short(GOOD) == "0123456789ab"
    assert len(short(digest("green"))) == 12
