"""The story as a user plays it, with the app's worker killed in the middle of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.e2e.house import House


def test_the_story_ends_as_told_though_the_worker_is_killed_in_its_middle(house: House, tmp_path: Path) -> None:
    said = house.python(
        "demo", "play", "--state", str(house.state), "--report", str(tmp_path), "--kill-worker-in", "4"
    )  # fmt: skip
    assert house.leftovers() == []
    assert "SIGKILL to the app's worker" in said

    report = json.loads((tmp_path / "demo-report.json").read_text())
    told: list[dict[str, Any]] = report["chapters"]
    assert report["complete"], report["problem"]
    assert [chapter["chapter"] for chapter in told] == list(range(1, 11))
    outcomes = ["live", "live", "stopped", "live", "live", "put back", "stopped", "let through"]
    outcomes += ["restored", "found"]
    assert [chapter["outcome"] for chapter in told] == outcomes
    assert [chapter["colour"] for chapter in told] == ["DeepSkyBlue", "Orange", "Orange", *["Green"] * 6, "Orange"]

    first, orange, red, green, app, sick, red_again, softer, restored, found = (c["stable_digest"] for c in told)
    assert red == orange, "Red must never become stable"
    assert len({first, orange, green, softer, found}) == 5
    assert restored == softer, "what was pushed around the gate was put back"
    assert (app, sick, red_again) == (green, green, green)
    assert "Invalid Color" in told[2]["reason"]
    assert told[6]["reason"] == told[2]["reason"], "run again, Red fails for the same reason"
    assert [len(chapter["unique_tags"]) for chapter in told] == [1] * 10, "one promotion a digest, killed or not"
    assert told[3]["unique_tags"][0].startswith("15-alpine-")
    assert told[5]["image"] == told[4]["image"] != told[3]["image"]
