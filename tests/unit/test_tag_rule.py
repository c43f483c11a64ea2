"""Which of a repository's tags a gate tracks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fnmatch import fnmatchcase

import pytest

from shared.domain.policy import Source, VersionRule
from shared.domain.tag_rule import TagRule
from shared.domain.versions import parse_version


def rule(*tags: str, **versions: object) -> TagRule:
    chosen = VersionRule(**versions) if versions else None  # type: ignore[arg-type]
    return Source(registry="hub", repository="library/node", tags=tags, versions=chosen).tracked


ALPINE = rule("*-alpine", range=">=20 <21")


@pytest.mark.parametrize("tag", ["20-alpine", "20.11-alpine", "20.11.1-alpine", "v20.3-alpine", "20.11.1.4-alpine"])
def test_a_tag_is_taken_when_what_the_star_stands_for_is_in_the_range(tag: str) -> None:
    assert ALPINE.takes(tag)


@pytest.mark.parametrize(
    "tag",
    [
        "20.11.1-alpine3.19",
        "20.0.0-rc.1-alpine",
        "21-alpine",
        "19.9-alpine",
        "20",
        "alpine",
        "20-bookworm-alpine",
        "lts-alpine",
        "x20-alpine",
        "20-alpine\n",
    ],
)
def test_a_tag_of_another_variant_version_or_none_is_left_out(tag: str) -> None:
    assert not ALPINE.takes(tag)


def test_prereleases_are_taken_where_the_rule_says_so() -> None:
    assert rule("*-alpine", range=">=20.0.0-rc.1 <21", prereleases=True).takes("20.0.0-rc.1-alpine")
    assert not rule("*-alpine", range=">=20.0.0-rc.1 <21").takes("20.0.0-rc.2-alpine")


def test_a_name_is_tracked_whatever_the_versions() -> None:
    both = rule("lts", "*-alpine", range="20")
    assert both.exact == ("lts",)
    assert both.takes("lts")
    assert both.needs_listing
    assert not rule("lts", "20-alpine").needs_listing


@pytest.mark.parametrize(
    ("pattern", "tag", "text"),
    [
        ("*", "20.11.1", "20.11.1"),
        ("v*", "v1.2.3", "1.2.3"),
        ("20.*", "20.11.1", "20.11.1"),
        ("20*", "20.11", "20.11"),
        ("20*", "201", "201"),
        ("20.*-alpine", "20.3-alpine", "20.3"),
        ("node-18.*", "node-18.2", "18.2"),
        ("php8.*", "php8.2", "2"),
        ("jdk?-*", "jdk2-17.0.1", "17.0.1"),
        ("*-alpine*", "20.11.1-alpine3.19", "20.11.1"),
        ("*-ea-*-jdk", "22-ea-12-jdk", "22"),
        ("*-jdk", "22-ea-12-jdk", "22-ea-12"),
        ("a.*", "a.20", "20"),
        ("*-*", "20-rc1-slim", "20-rc1"),
    ],
)
def test_the_version_is_what_the_first_star_stands_for_with_the_digits_before_it(
    pattern: str, tag: str, text: str
) -> None:
    found = rule(pattern, prereleases=True).patterns[0].version_of(tag)
    assert found == parse_version(text)
    assert found is not None


def test_a_pattern_without_a_star_has_no_place_for_a_version() -> None:
    assert not rule("20.?", range="20").takes("20.1")
    assert rule("20.?").takes("20.1")


def test_what_a_source_tracks_reads_as_a_sentence() -> None:
    def words(versions: VersionRule | None) -> str:
        return Source(registry="hub", repository="r", tags=("*-alpine", "lts"), versions=versions).tags_in_words

    assert words(None) == "*-alpine, lts"
    assert words(VersionRule(range=">=20 <21")) == "*-alpine, lts (versions >=20 <21)"
    assert words(VersionRule(prereleases=True)) == "*-alpine, lts (versions of any range, pre-releases too)"


def tags_of(alphabet: str, length: int) -> Iterator[str]:
    for size in range(1, length + 1):
        yield from ("".join(letters) for letters in itertools.product(alphabet, repeat=size))


def test_without_versions_patterns_are_the_ones_of_a_shell_on_every_small_tag() -> None:
    for pattern in ("*", "1*", "*-a", "?-a", "1.?", "*.*", "*a*"):
        for tag in tags_of("1.-a", 5):
            assert rule(pattern).takes(tag) is fnmatchcase(tag, pattern), (pattern, tag)


def test_with_versions_every_small_tag_is_taken_exactly_if_some_reading_of_the_star_is_a_version() -> None:
    for before, after in (("", ""), ("", "-a"), ("v", ""), ("1.", ""), ("1", ".1"), ("a-", "")):
        for tag in tags_of("1.-av", 6):
            lead = before if before[:1].isdecimal() else ""
            fits = tag.startswith(before) and tag.endswith(after) and len(tag) >= len(before) + len(after)
            text = lead + tag[len(before) : len(tag) - len(after)] if fits else ""
            taken = rule(f"{before}*{after}", prereleases=True).takes(tag)
            assert taken is (parse_version(text) is not None), (before, after, tag)


NODE = [
    f"{major}.{minor}.{patch}{end}"
    for major in (19, 20)
    for minor in range(12)
    for patch in range(3)
    for end in ("", "-alpine")
]


def test_the_newest_are_the_highest_versions_of_each_pattern_in_any_order_of_the_list() -> None:
    newest = rule("*-alpine", "*", "lts", range="<20.11.2", newest=2)
    expected = ["20.11.0", "20.11.0-alpine", "20.11.1", "20.11.1-alpine"]
    for listed in (NODE, NODE[::-1], NODE[7:] + NODE[:7], NODE + NODE):
        assert sorted(newest.select(listed)) == expected
        assert sorted(newest.select([*listed, "lts"])) == [*expected, "lts"]


def test_selecting_agrees_with_sorting_all_on_every_small_list() -> None:
    ascending = ["1", "2", "2.1", "10"]
    for listed in itertools.permutations([*ascending, "3-rc1", "x"], 4):
        for count in (1, 2, 3):
            ordered = [tag for tag in ascending if tag in listed]
            assert set(rule("*", newest=count).select(listed)) == set(ordered[-count:])


def test_a_list_without_an_end_is_selected_from_as_a_stream() -> None:
    endless = (f"{number}-alpine" for number in itertools.count())
    selected = rule("*-alpine", range=">=20").select(endless)
    assert list(itertools.islice(selected, 2)) == ["20-alpine", "21-alpine"]


def test_a_long_list_leaves_only_the_newest_in_memory() -> None:
    alive = 0

    class Listed(str):
        def __new__(cls, text: str) -> Listed:
            nonlocal alive
            alive += 1
            return super().__new__(cls, text)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    peak = 0

    def listed() -> Iterator[str]:
        nonlocal peak
        for number in range(5_000):
            yield Listed(f"1.{number}")
            peak = max(peak, alive)

    assert sorted(rule("*", newest=3).select(listed())) == ["1.4997", "1.4998", "1.4999"]
    assert peak <= 6


def test_a_tag_that_is_made_to_be_slow_to_match_is_answered() -> None:
    hostile = ["1" * 128, "1." * 64, "1-rc" + ".1" * 62, "1" + "-a1" * 42, "a" * 128, "-" * 128]
    for pattern, tag in itertools.product(("*a*a*a*a*b", "*-*-*-*-x", "1*1*1*1*x"), hostile):
        assert not rule(pattern, newest=1).takes(tag)


@pytest.mark.parametrize("pattern", ["*", "s*", "*-*", "??*"])
def test_what_is_attached_to_an_image_is_no_image(pattern: str) -> None:
    about = f"sha256-{'7b' * 32}"
    attached = [about, *(f"{about}.{what}" for what in ("sig", "att", "sbom"))]
    for tracked in (rule(pattern), rule(pattern, newest=3)):
        assert list(tracked.select(attached)) == []
        assert not any(map(tracked.takes, attached))
    assert rule(pattern, f"{about}.sig").takes(f"{about}.sig")  # whoever names one means it
