"""Two versions side by side: each goes on with what the other has in flight, and comes to the same end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from tests.upgrade.before import BEFORE, ROOT, is_at_hand, moments_before, output_of, tree
from tests.upgrade.stories import KINDS, End, Moment, end_of, keys_of, unreadable

NEW_VALUES = {
    "Alarm: Invalid enum value 'stable tag points to a digest that is not in the ledger' - at `$.kind`": (
        "while the alarm stands, the gate's sweep jobs fail in a worker of the version before, and are done by the next"
        " sweep of a worker of this one; nothing but the sweep reads the alarms of a gate"
    ),
}
"""What the version before cannot read, and why that may be. It ends with the rollout: empty this for the next one."""


@pytest.fixture(scope="module")
def before() -> Iterator[Path]:
    """The tree of the version before."""
    if not is_at_hand():
        pytest.skip(f"this clone has no commit {BEFORE[:7]}: fetch the whole history")
    with tree() as folder:
        yield folder


@pytest.fixture(scope="module")
def moments_now() -> list[Moment]:
    """What this version leaves behind; played in a process of its own, as that of the other version is."""
    return msgspec.json.decode(output_of(ROOT, "play"), type=list[Moment])


@pytest.fixture(scope="module")
def readable(before: Path, moments_now: list[Moment]) -> list[Moment]:
    """Those of them that the version before can read as a whole."""
    problems = msgspec.json.decode(output_of(before, "read", moments_now), type=list[list[str]])
    assert {problem for found in problems for problem in found} <= set(NEW_VALUES)
    return [moment for moment, found in zip(moments_now, problems, strict=True) if not found]


def differences(moments: Sequence[Moment], ends: Sequence[End]) -> Iterator[str]:
    """How the ends that one version came to differ from those of the version that was there at the moment."""
    for moment, end in zip(moments, ends, strict=True):
        wanted = moment.end
        assert wanted is not None  # whoever played it came to its end
        for part in ("stable", "live", "records"):
            ours, theirs = getattr(end, part), getattr(wanted, part)
            for name in {*ours, *theirs}:
                if ours.get(name) != theirs.get(name):
                    yield f"{moment.story}; {moment.what}: {name} ends {ours.get(name)}, not {theirs.get(name)}"


def _come_about(moment: Moment) -> Iterator[str]:
    """The records whose outcome had come about in the version before, and was not heard: it is in no outbox.

    That ends with the rollout: remove this for the next one.
    """
    for row in moment.rows:
        if row.kind in ("Candidate", "Promotion", "Rollout"):
            record = msgspec.json.decode(row.body, type=KINDS[row.kind])
            if not msgspec.json.decode(row.body)["announced"] and (record.settled or getattr(record, "moved_at", None)):
                yield row.row


def test_all_that_the_version_before_wrote_is_found_and_read() -> None:
    moments = moments_before()
    assert [problem for moment in moments for problem in unreadable(moment)] == []
    rows = [row for moment in moments for row in moment.rows]
    assert {row.kind for row in rows} == set(KINDS)
    assert {row.keys for row in rows} == {keys_of(row.kind, row.partition, row.row) for row in rows}


def test_what_the_version_before_has_in_flight_comes_to_the_same_end_and_is_announced() -> None:
    moments = moments_before()
    ends = [end_of(moment) for moment in moments]
    assert list(differences(moments, ends)) == []
    for moment, end in zip(moments, ends, strict=True):
        missing = set(moment.end.heard if moment.end else ()) - set(end.heard)
        come_about = set(_come_about(moment))
        assert [one for one in missing if one.rpartition("/")[2] not in come_about] == []


def test_what_is_kept_of_the_version_before_is_what_it_leaves_behind(before: Path) -> None:
    assert msgspec.json.decode(output_of(before, "play"), type=list[Moment]) == moments_before()


def test_what_this_version_writes_is_read_by_the_version_before(before: Path, moments_now: list[Moment]) -> None:
    problems = msgspec.json.decode(output_of(before, "read", moments_now), type=list[list[str]])
    assert {problem for found in problems for problem in found} == set(NEW_VALUES)


def test_what_this_version_has_in_flight_comes_to_the_same_end_in_the_version_before(
    before: Path, moments_now: list[Moment], readable: list[Moment]
) -> None:
    assert len(readable) > len(moments_now) * 0.9
    ends = msgspec.json.decode(output_of(before, "go on", readable), type=list[End])
    assert list(differences(readable, ends)) == []


def test_what_this_version_has_in_flight_survives_that_the_version_before_saves_it(
    before: Path, readable: list[Moment]
) -> None:
    saved = msgspec.json.decode(output_of(before, "save again", readable), type=list[Moment])
    assert list(differences(saved, [end_of(moment) for moment in saved])) == []


def test_a_field_that_is_not_known_is_passed_over_in_every_record() -> None:
    for row in {row.kind: row for moment in moments_before() for row in moment.rows}.values():
        body = msgspec.json.decode(row.body)
        later = msgspec.json.encode(body | {"a_field_of_a_later_version": {"of": ["any", "shape"]}})
        assert msgspec.json.decode(later, type=KINDS[row.kind]) == msgspec.json.decode(row.body, type=KINDS[row.kind])
