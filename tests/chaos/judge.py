"""The invariants of what was pushed, sampled, recorded and received."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from tests.chaos.pushes import BAD, Push
from tests.chaos.sampling import TagReading

_VERDICTS = {"passed": "CandidatePassed", "failed": "CandidateFailed"}
_TEST_SAID = "ERROR:"
"""The prefix of the messages of the scenario's functional test."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was observed of a run from outside.

    A digest under its tag for `stay_seconds` must be in the ledger; `now` is when the run ended, `candidates` are the
    ledger's attempts with their histories, `heard` the outcomes that the listener received.
    """

    pushes: Sequence[Push]
    readings: Sequence[TagReading]
    candidates: Sequence[dict[str, Any]]
    heard: Sequence[dict[str, Any]]
    stay_seconds: float
    now: float

    @property
    def stayed(self) -> list[Push]:
        """The pushes whose digest stayed under its tag, for `stay_seconds` or to the end."""
        made = [push for push in self.pushes if push.since]
        return [push for push in made if not push.until or push.stood(self.now) >= self.stay_seconds]

    @property
    def harmed(self) -> int:
        """The number of attempts at a good image that failed because a process that executed the run was killed."""
        colours = {push.digest: push.colour for push in self.pushes}
        return sum(one["state"] == "failed" and colours.get(one["digest"]) != BAD for one in self.candidates)


def violations(seen: Seen) -> list[str]:
    """The violated invariants, each with the image concerned."""
    return [
        *_not_in_the_ledger(seen),
        *_wrong_verdicts(seen),
        *_wrong_readings(seen),
        *_wrong_ends(seen),
        *_unheard(seen),
    ]


def unfinished(seen: Seen) -> list[str]:
    """What is still missing for the digests under the tags now: verdicts, moves, outcomes."""
    last = msgspec.structs.replace(seen, pushes=[push for push in seen.pushes if not push.until])
    return [*_not_in_the_ledger(last), *_wrong_ends(seen), *_unheard(seen)]


def _not_in_the_ledger(seen: Seen) -> Iterator[str]:
    for push in seen.stayed:
        states = [one["state"] for one in seen.candidates if one["digest"] == push.digest]
        if not any(state in _VERDICTS for state in states):
            stood = f"{push.tag} was {push.digest} for {push.stood(seen.now):.0f} s from {_time(push.since)}"
            yield f"{stood}, and the ledger has no verdict: {', '.join(states) or 'no record'}"


def _wrong_verdicts(seen: Seen) -> Iterator[str]:
    """A bad image must not pass. A good one may fail only if its run fails for another reason than the test."""
    colours = {push.digest: push.colour for push in seen.pushes}
    for one in seen.candidates:
        bad, state = colours.get(one["digest"]) == BAD, one["state"]
        log = [line for check in one["checks"] for line in (check["evidence"] or {}).get("log_tail", ())]
        if (bad and state == "passed") or (not bad and state == "failed" and any(_TEST_SAID in line for line in log)):
            yield f"{one['id']} is {state}, and the image is {colours.get(one['digest'], 'the first')}: {one['reason']}"


def _wrong_readings(seen: Seen) -> Iterator[str]:
    """A stable tag points only to digests that have passed before, and never goes back."""
    passed = _passed(seen)
    order = {(push.tag, push.digest): number for number, push in enumerate(seen.pushes)}
    highest: dict[str, int] = {}
    for reading in seen.readings:
        since = passed.get(reading.digest)
        if since is None or since > reading.at:
            why = "never passed" if since is None else f"passed at {_time(since)}"
            yield f"{reading.tag} pointed to {reading.digest} at {_time(reading.at)}, which {why}"
        number = order.get((reading.tag, reading.digest), -1)
        if number < highest.get(reading.tag, -1):
            yield f"{reading.tag} went back to {reading.digest} at {_time(reading.at)}"
        highest[reading.tag] = max(number, highest.get(reading.tag, -1))


def _wrong_ends(seen: Seen) -> Iterator[str]:
    """The digest under a tag at the end is under its stable tag too, if it passed."""
    passed = _passed(seen)
    ends = {push.tag: push.digest for push in seen.pushes if push.since}
    readings = {reading.tag: reading.digest for reading in seen.readings}
    for tag, digest in ends.items():
        if digest in passed and readings.get(tag) != digest:
            stable = readings.get(tag, "nothing")
            yield f"{tag} is {digest} upstream, which passed, and the stable tag points to {stable}"


def _unheard(seen: Seen) -> Iterator[str]:
    heard = {(event["type"].removeprefix("Basegate."), event["subject"].rpartition("/")[2]) for event in seen.heard}
    for one in seen.candidates:
        name, row = _VERDICTS.get(one["state"]), one["id"].partition(".")[2]
        if name and (name, row) not in heard:
            yield f"the listener never received {name} of {one['id']}"


def _passed(seen: Seen) -> dict[str, float]:
    """When each digest first passed."""
    moments = [
        (one["digest"], datetime.fromisoformat(entry["at"]).timestamp())
        for one in seen.candidates
        for entry in one["history"]
        if entry["what"] == "passed"
    ]
    return {digest: min(at for other, at in moments if other == digest) for digest, _ in moments}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S.%f")[:-3]
