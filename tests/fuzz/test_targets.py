"""Every target on made-up input, and on what coverage led to before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.fuzz.corpus import MOST_BYTES, MOST_INPUTS, read_corpus, write_corpus
from tests.fuzz.targets import TARGETS

MADE_UP = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_made_up_is_answered_or_refused(name: str) -> None:
    MADE_UP(TARGETS[name])()


@pytest.mark.parametrize("name", TARGETS)
def test_what_coverage_led_to_is_answered_or_refused(name: str) -> None:
    target: Any = TARGETS[name]
    for data in read_corpus(name):
        target.hypothesis.fuzz_one_input(data)


def test_the_corpus_of_a_target_is_one_sorted_file_of_bounded_size(tmp_path: Path) -> None:
    noise = [bytes([number % 256, number // 256]) for number in range(2 * MOST_INPUTS)]
    assert write_corpus("small", [*noise, *noise, b""], tmp_path) == MOST_INPUTS
    assert sorted(read_corpus("small", tmp_path)) == sorted(sorted(noise)[:MOST_INPUTS])
    lines = (tmp_path / "small.b64").read_text().splitlines()
    assert lines == sorted(lines)

    write_corpus("large", [bytes([number % 256, number // 256]) * 2048 for number in range(MOST_INPUTS)], tmp_path)
    assert MOST_BYTES - 6000 < (tmp_path / "large.b64").stat().st_size <= MOST_BYTES
    assert read_corpus("missing", tmp_path) == []
