"""Versions in tags and ranges of them: an order checked on every pair, and ranges against a plain reading of each."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from shared.domain.errors import Malformed
from shared.domain.versions import Version, parse_range, parse_version

_ROWS = (
    "0.0.1-alpha 0.0.1 0.1 0.2.3 0.2.4 0.3.0-rc.1 0.3 1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta",
    "1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.0.0.1 1.2.3 3.18.9 3.19 3.19.1 3.20 17beta1 17beta2 17rc1 17",
    "19.9 20.0.0-rc.1 20.0.0-rc.2 20.0.0 20.0.0.7 20.1 20.9.0 20.11.1 20.11.1.5 20.11.2-rc.1 20.11.2 20.12",
    "21.0.0-rc.1 21 22-ea-12 22 100",
)
ASCENDING = [text for row in _ROWS for text in row.split()]


def version(text: str) -> Version:
    found = parse_version(text)
    assert found is not None, text
    return found


def test_every_pair_of_versions_is_in_the_order_of_semantic_versioning() -> None:
    for (place, low), (other, high) in itertools.product(enumerate(ASCENDING), repeat=2):
        assert (version(low) < version(high)) is (place < other), (low, high)
        assert (version(low) == version(high)) is (place == other), (low, high)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("20", "20.0.0.0"),
        ("v1.2.3", "1.2.3"),
        ("20.04", "20.4"),
        ("3.13.0rc2", "3.13-rc.2"),
        ("1.0.0-RC1", "1.0.0-rc.1"),
        ("1.0-M2", "1.0-m2"),
        ("1.0.0.beta.2", "1.0.0-beta2"),
    ],
)
def test_one_version_may_be_written_in_several_ways(text: str, same: str) -> None:
    assert version(text) == version(same)


@pytest.mark.parametrize(
    "text",
    [
        "latest",
        "20-slim",
        "20-alpine3.19",
        "1.2.3.4.5",
        "20.",
        ".20",
        "v",
        "20-",
        "20-rc.",
        "rc1",
        "20-a",
        "20.x",
        "٣",
        "",
        "20 ",
        "1.2.3-20240101",
        "1" * 19,
    ],
)
def test_what_is_no_version_is_none(text: str) -> None:
    assert parse_version(text) is None


def test_a_prerelease_says_that_it_is_one() -> None:
    assert [text for text in ASCENDING if version(text).is_prerelease] == [
        text for text in ASCENDING if any(letter.isalpha() for letter in text)
    ]


def between(low: str, high: str) -> Callable[[str], bool]:
    """Versions from `low` up to, without, `high`; the pre-releases of `high` are not among them."""
    return lambda text: version(low) <= version(text) < version(high) and not text.startswith(f"{high}.0.0-")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", lambda _: True),
        ("*", lambda _: True),
        (">=20 <21", between("20", "21")),
        (">=20,<21", between("20", "21")),
        (" >= 20 , < 21 ", between("20", "21")),
        ("20.x", between("20", "21")),
        ("20.X.x", between("20", "21")),
        ("20.*", between("20", "21")),
        ("20", between("20", "21")),
        ("=v20", between("20", "21")),
        ("^20.1", between("20.1", "21")),
        ("^20.1.x", between("20.1", "21")),
        ("~20", between("20", "21")),
        ("~3.19", between("3.19", "3.20")),
        ("~3.19.1", between("3.19.1", "3.20")),
        ("3.19", between("3.19", "3.20")),
        ("^0.2.3", between("0.2.3", "0.3.0-rc.1")),
        ("^0.0.1", lambda text: text == "0.0.1"),
        ("^0.0", lambda text: text in ("0.0.1", "0.0.1-alpha")),
        ("^0", between("0", "1.0.0-alpha")),
        ("20.11.1", lambda text: text == "20.11.1"),
        (">20.11.1", lambda text: version(text) > version("20.11.1")),
        ("<=20.11.1", lambda text: version(text) <= version("20.11.1")),
        (">20", lambda text: version(text) >= version("21")),
        ("<=20", lambda text: version(text) < version("21.0.0-rc.1")),
        ("<21.0.0-rc.1", lambda text: version(text) < version("21.0.0-rc.1")),
        ("<=21.0.0-rc.1", lambda text: version(text) <= version("21.0.0-rc.1")),
        (">20.0.0-rc.1", lambda text: version(text) > version("20.0.0-rc.1")),
        ("17 || >=21", lambda text: text == "17" or version(text) >= version("21")),
        ("^3.19||~17||100", lambda text: text in ("3.19", "3.19.1", "3.20", "17", "100")),
    ],
)
def test_a_range_holds_exactly_the_versions_of_its_plain_reading(text: str, expected: Callable[[str], bool]) -> None:
    found = parse_range(text)
    assert [one for one in ASCENDING if version(one) in found] == [one for one in ASCENDING if expected(one)]


def test_bounds_hold_for_every_small_version() -> None:
    grid = [".".join(parts) for parts in itertools.product("0123", repeat=3)]
    for bound, one in itertools.product(grid, repeat=2):
        here, there = version(bound), version(one)
        inside = {sign: there in parse_range(f"{sign}{bound}") for sign in ("<", "<=", "=", ">=", ">")}
        assert inside == {
            "<": there < here,
            "<=": there <= here,
            "=": there == here,
            ">=": there >= here,
            ">": there > here,
        }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (">=20 <2O", "at character 7: '2O' is not a version"),
        ("latest", "at character 1: 'latest' is not a version"),
        ("20.x.1", "at character 1: '20.x.1' is not a version"),
        ("20.x-rc1", "at character 1: '20.x-rc1'"),
        ("1.2 - 1.4", "at character 5: '-' is not a version"),
        ("!=3", "at character 1: '!' is not a version"),
        ("1.2.3.4.5", "at character 1: '1.2.3.4.5' is not"),
        ("1" * 5_000, "at character 1: '1111"),
        (">=20 <", "at character 6: a version is missing"),
        (">=>20", "at character 1: a version is missing"),
        ("20 | 21", "at character 4: a version is missing"),
        ("20 ||", "at character 6: a version is missing before or after ||"),
        ("|| 20", "at character 1: a version is missing before or after ||"),
        ("||", "a version is missing before or after ||"),
        (">*", "at character 1: no version is below or above all"),
        ("18 || >=21 <20", "at character 6: no version is in this range"),
    ],
)
def test_what_is_no_range_is_told_with_the_field_and_the_place_in_the_text(text: str, says: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_range(text, "versions.range")
    assert caught.value.field == "versions.range"
    assert says in caught.value.problem


def test_ranges_overlap_where_some_version_may_be_in_both() -> None:
    ranges = ["20", ">=20.5", "<20", "21.x || 19"]
    overlaps = [[parse_range(one).overlaps(parse_range(other)) for other in ranges] for one in ranges]
    assert overlaps == [
        [True, True, False, False],
        [True, True, False, True],
        [False, False, True, True],
        [False, True, True, True],
    ]
