"""Every target on made-up input, and on what coverage led to before."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.fuzz.__main__ import CORPUS
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
    for file in sorted((CORPUS / name).glob("*")):
        target.hypothesis.fuzz_one_input(file.read_bytes())
