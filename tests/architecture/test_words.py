"""Retired words are found wherever they stand, and plain uses of them are not."""

from __future__ import annotations

import pytest

from scripts.words import ALLOWED, WORDS, Scope, retired


@pytest.mark.parametrize(
    ("token", "scope", "words"),
    [
        ("TagSightings", Scope.NAMES, ["sighting"]),
        ("last_sighting_of", Scope.NAMES, ["sighting"]),
        ("sightings", Scope.PROSE, ["sighting"]),
        ("BEATS", Scope.NAMES, ["beat"]),
        ("looks", Scope.PROSE, []),
        ("Look", Scope.NAMES, ["look"]),
        ("silent_after", Scope.NAMES, ["silent_after"]),
        ("faults", Scope.NAMES, []),
        ("grants", Scope.FILES, ["grants"]),
        ("decide_and_act", Scope.NAMES, ["act"]),
        ("_act", Scope.NAMES, []),
        ("actor", Scope.NAMES, []),
        ("test_what_a_look_finds_is_told", Scope.NAMES, []),
        ("test_the_beat_is_told", Scope.NAMES, ["beat"]),
    ],
)
def test_a_retired_word_is_found_in_plurals_compounds_and_names_of_files(
    token: str, scope: Scope, words: list[str]
) -> None:
    assert list(retired(token, scope)) == words


def test_every_word_with_reviewed_names_is_retired() -> None:
    assert set(ALLOWED) <= set(WORDS)
