"""The log lines of a promotion, as an operator reads them."""

from __future__ import annotations

import logging
import re

import pytest

from tests.fakes import World, digest

GREEN = digest("green")


def test_a_line_has_short_digests_once_and_its_attributes_have_whole_ones(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    with caplog.at_level(logging.INFO, "shared.reconcile"):
        world.push("15-alpine", GREEN)
        world.settle()
    lines = [record for record in caplog.records if hasattr(record, "basegate_record")]
    assert len(lines) > 4
    for line in lines:
        text = line.getMessage()
        assert not re.search(r"[0-9a-f]{13}", text), text
        assert re.findall(r"(\w+)=", text[text.rindex("[") :]) in (["record", "image", "state"], ["record", "state"])
    gate = [vars(line) for line in lines if "basegate_gate" in vars(line)]
    assert {(fields["basegate_gate"], fields["basegate_image"].rpartition("@")[2]) for fields in gate} == {
        ("node", GREEN)
    }
