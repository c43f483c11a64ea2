"""Stories that leave work in flight at every point: as JSON, for another version of the app to continue.

This file runs in two versions of the repository. It uses only what both have: the actions of `tests.fakes`, and the
operations. It is run as a program (`python -m tests.upgrade.stories`), with one word:

- `play`: plays every story, and writes each moment whose work in flight is new: the rows of the ledger, the messages
  in the queues, the external state, and the end that this version itself reaches from there.
- `go on`: reads such moments, continues from each, and writes the ends.
- `read`: reads such moments, and writes which of their rows this version cannot read.
- `save again`: reads such moments, and writes them with each row as this version saves it unchanged.

Input and output are JSON on stdin and stdout.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import sys
from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import cache
from typing import Any

import msgspec

from shared.adapters import ledger_tables
from shared.checks.approval import ApprovalCheck
from shared.domain.alarm import Alarm
from shared.domain.candidate import Candidate
from shared.domain.errors import Retry
from shared.domain.event import Hint
from shared.domain.observation import Observation
from shared.domain.policy import Policy
from shared.domain.promotion import Promotion
from shared.domain.record import Record, WorkItem
from shared.domain.rollout import AppRecord, Rollout
from shared.domain.stable_tag import HoldUntil, StableTag, Veto
from shared.intake.upstreams import UpstreamRecord
from shared.operations.idempotency import IdempotentCalls
from tests.fakes import FakeRun, World, digest, sample_policy

try:
    from shared.operations import Who
except ImportError:  # its place in the previous version
    from shared.operations.plan import Who  # type: ignore[import-not-found,no-redef]

try:
    from shared.domain.retention import IdempotentCall
    from shared.domain.sweep import SweepRecord
except ImportError:  # their places in the previous version
    from shared.operations.idempotency import IdempotentCall  # type: ignore[attr-defined]
    from shared.sweep.job import SweepRecord  # type: ignore[attr-defined]

try:
    from shared.domain.policy import CheckRule  # noqa: F401
except ImportError:  # in the previous version the kind of a check is a key
    from shared.domain.policy import Check  # type: ignore[attr-defined]

    APPROVAL = Check(approval=ApprovalCheck())
else:
    APPROVAL = ApprovalCheck()

ORANGE, GREEN, BLUE, RED, FOREIGN = map(digest, ("orange", "green", "blue", "red", "foreign"))
TAG, WHO = "15-alpine", Who.of("ada", "a quiet weekend")
STABLE = ("base", f"node:{TAG}")

KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        Observation, Candidate, Promotion, StableTag, Rollout, AppRecord, Veto, IdempotentCall, SweepRecord,
        UpstreamRecord, Alarm,
    )
}  # fmt: skip
"""The records that both versions have. Those that only one has, the other never loads."""


class Row(msgspec.Struct, frozen=True):
    """A row of the ledger: a record's kind and key, its keys in the table, and its body."""

    kind: str
    partition: str
    row: str
    keys: tuple[str, str]
    body: msgspec.Raw


class Message(msgspec.Struct, frozen=True):
    """A message in a queue: a work item, or a hint."""

    due: datetime
    item: WorkItem | None = None
    hint: Hint | None = None


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The final state, as far as all versions must agree on it.

    `stable` are the stable tags, `live` the base of each app's live image, and whether its container runs that image;
    `records` how candidates and promotions ended, and whether rollouts did; `heard` the announced outcomes, except
    drift: a later version may find more of it.
    """

    stable: dict[str, str]
    live: dict[str, str]
    records: dict[str, str]
    heard: list[str]


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One moment of a story: `outside` has the attributes of `OUTSIDE`, as JSON."""

    story: str
    what: list[str]
    policy: str
    now: datetime
    rows: list[Row]
    messages: list[Message]
    outside: dict[str, msgspec.Raw]
    end: End | None = None


_Names = tuple[str, str]
OUTSIDE: dict[str, Any] = {
    "registry.tags": list[tuple[_Names, str]],
    "registry.pushed": list[tuple[_Names, datetime]],
    "registry.locked": list[_Names],
    "registry.untagged": list[tuple[str, str, str]],
    "registry.copies": list[str],
    "registry._under_way": list[tuple[str, tuple[datetime, str, str, str]]],
    "tasks.runs": list[tuple[str, FakeRun]],
    "tasks.others": list[tuple[str, datetime]],
    "tasks.failing": list[tuple[str, str]],
    "tasks._counts": list[tuple[str, int]],
    "tasks._others_images": list[tuple[str, str]],
    "containers.groups": list[tuple[str, tuple[str, datetime]]],
    "containers._names": list[tuple[str, set[str]]],
    "probe.sick": list[tuple[str, str]],
}
"""The external state, by attribute of the world, and its type in JSON."""


def _gate(**changes: Any) -> Policy:
    policy = sample_policy()
    return msgspec.structs.replace(policy, gates={"node": msgspec.structs.replace(policy.gates["node"], **changes)})


def _checks(*more: Any) -> Policy:
    return _gate(checks=(*sample_policy().gates["node"].checks, *more))


POLICIES: dict[str, Callable[[], Policy]] = {
    "sample": sample_policy,
    "approval": lambda: _checks(APPROVAL),
    "by task": lambda: _gate(promote=msgspec.structs.replace(sample_policy().gates["node"].promote, by="task")),
    "no gate": lambda: msgspec.structs.replace(sample_policy(), gates={}, apps={}),
    "no deployment": lambda: sample_policy(
        apps={"hello-world": msgspec.structs.replace(sample_policy().apps["hello-world"], deploy=None)}
    ),
}


class Player:
    """Plays a story; `keep` is called at each moment of it: between two messages, and before each save of a record.

    `handled` is the message in progress, which is delivered again if its worker dies.
    """

    def __init__(self, keep: Callable[[Player], None]) -> None:
        self._keep = keep
        self.story, self.policy, self.world = "", "sample", World()
        self.handled: list[tuple[datetime, int, WorkItem | Hint]] = []

    def begin(self, story: str, policy: str = "sample") -> World:
        """Begin a story in a new world."""
        self.story, self.policy, self.world = story, policy, World(POLICIES[policy]())
        self.world.ledger.before_save = lambda record: self._keep(self)
        return self.world

    def use(self, policy: str) -> None:
        """Use other rules."""
        self.policy = policy
        self.world.use(POLICIES[policy]())

    def go_on(self, steps: int = 400, seconds: float = 600) -> None:
        """Deliver up to `steps` messages, if they are due within `seconds`; each is a moment."""
        end = self.world.clock.time.timestamp() + seconds
        for _ in range(steps):
            self._keep(self)
            if not self.world.queue.waiting or self.world.queue.waiting[0][0].timestamp() > end:
                return
            self.handled = self.world.queue.waiting[:1]
            self.world.next_item()
            self.handled = []

    def push(self, content: str, tag: str = TAG) -> None:
        """Push, and deliver all messages that follow."""
        self.world.push(tag, digest_of(content))
        self.go_on()
        self.world.clock.forward(400)

    def sweep(self) -> None:
        """Sweep, and deliver all messages that follow."""
        self.world.sweep_now()
        self._keep(self)
        self.go_on()
        self.world.clock.forward(400)


def digest_of(content: str) -> Any:
    """The digest for a content's name."""
    return digest(content)


# the stories: each ends while something is left to do


def _promoted_and_again(play: Player) -> None:
    world = play.begin("orange, green, red is refused, blue gets sick and is put back")
    play.push("orange")
    play.sweep()
    play.push("green")
    world.tasks.failing[RED] = "ERROR: Invalid Color: Red"
    play.push("red")
    world.probe.sick["hello-world:ct3"] = "it crashes"
    play.push("blue")
    world.operate.candidates.rerun(world.candidate(RED).id, WHO).act()
    play.go_on()
    world.tasks.failing["hello-world"] = "the build fails"
    play.push("violet")


def _approvals(play: Player) -> None:
    world = play.begin("approved, rejected, and waiting", "approval")
    for content, answer in (("orange", "approve"), ("green", "reject"), ("blue", "")):
        play.push(content)
        if answer:
            getattr(world.operate.candidates, answer)(world.candidate(digest_of(content)).id, WHO).act()
            play.go_on()


def _decisions(play: Player) -> None:
    world = play.begin("holds, vetoes, rollbacks, cancellations")
    play.push("orange")
    play.push("green")
    world.operate.gates.roll_back("node", TAG, ORANGE, HoldUntil.LIFTED, WHO).act()
    play.go_on()
    play.push("blue")
    world.operate.vetoes.veto("node", BLUE, WHO).act()
    world.operate.vetoes.veto("node", GREEN, WHO).act()
    play.go_on()
    world.operate.gates.lift("node", TAG, WHO).act()
    play.go_on()
    world.operate.vetoes.lift("node", BLUE, WHO).act()
    play.go_on()
    world.push(TAG, RED)
    play.go_on(steps=1)
    world.operate.candidates.cancel(world.candidate(RED).id, WHO).act()
    play.go_on()
    world.operate.gates.hold("node", TAG, HoldUntil.NEWER, WHO).act()
    play.push("violet")
    world.operate.apps.roll_back("hello-world", WHO).act()
    play.go_on()
    world.operate.apps.rebuild("hello-world", WHO).act()
    play.go_on(steps=2)
    world.operate.apps.cancel(world.rollouts()[-1].id, WHO).act()
    play.go_on()
    world.operate.apps.rebuild("hello-world", WHO).act()
    play.go_on(steps=2)
    play.push("yellow")


def _overtaken(play: Player) -> None:
    world = play.begin("overtaken, withdrawn, back again, doubted, and under two tags")
    world.tasks.seconds = 100.0
    world.push(TAG, ORANGE)
    play.go_on(steps=3, seconds=50)
    world.tasks.seconds = 3.0
    world.push(TAG, GREEN)
    play.go_on()
    world.tasks.seconds = 500.0
    world.push(TAG, BLUE)
    play.go_on(steps=3, seconds=100)
    world.push("15.14", BLUE)
    play.go_on(steps=3, seconds=100)
    del world.registry.tags["public", f"node:{TAG}"]
    for _ in range(2):
        world.sweep_now()
        world.clock.forward(10)
    play.go_on(seconds=2000)
    world.push(TAG, BLUE)
    play.go_on()
    world.registry.tags["public", f"node:{TAG}"] = GREEN
    world.sweep_now()
    play.go_on(steps=1)
    world.deliver(world.event(TAG, RED))
    play.go_on()


def _away(play: Player) -> None:
    world = play.begin("what is away: the target, the task, the container, the source, the listener")
    world.announcer.fault = Retry("the topic is away")
    play.push("orange")
    world.registry.copy_fault = Retry("the registry is away")
    world.push(TAG, GREEN)
    play.go_on(steps=8)
    world.registry.copy_fault = None
    play.go_on(seconds=300)
    world.tasks.start_fault = Retry("tasks are away")
    world.push(TAG, BLUE)
    play.go_on(steps=6)
    world.tasks.start_fault = None
    world.containers.faults = [Retry("it is away") for _ in range(4)]
    play.go_on(steps=30)
    world.tags.faults["public"] = Retry("the source is away")
    play.sweep()
    world.push(TAG, RED)
    play.go_on(steps=2)


def _drift(play: Player) -> None:
    world = play.begin("drift: moved tags, a deleted image, a container that is gone, calls")
    play.push("orange")
    play.push("green")
    world.registry.tags[STABLE] = FOREIGN
    world.operate.vetoes.veto("node", GREEN, WHO).act()
    play.sweep()
    world.operate.vetoes.lift("node", GREEN, WHO).act()
    for name in [name for name, content in world.registry.tags.items() if name[0] == "base" and content == GREEN]:
        del world.registry.tags[name]
        world.registry.locked.discard(name)
    play.sweep()
    world.containers.groups.clear()
    world.sweep_now()
    play.go_on(steps=2)
    world.push("cq7", digest("by somebody else"), registry="team", repository="hello-world")
    play.go_on()
    calls = IdempotentCalls(world.services)
    calls.once("a key", "POST /sweep", "ada", lambda: (202, "{}"))
    play.sweep()


def _by_task(play: Player) -> None:
    world = play.begin("the gate's own task promotes", "by task")
    for content in (ORANGE, GREEN):
        world.push(TAG, content)
        play.go_on(steps=1)
        run_id = list(world.tasks.runs)[-1]
        world.registry.tags["base", f"node:{TAG}-{run_id}"] = content
        world.registry.tags[STABLE] = content
        play.go_on()


def _rules(play: Player) -> None:
    world = play.begin("the rules change under what is in flight")
    world.push(TAG, ORANGE)
    play.go_on(steps=2)
    play.use("approval")
    play.go_on()
    world.operate.candidates.approve(world.candidate(ORANGE).id, WHO).act()
    play.go_on(steps=6)
    play.use("no gate")
    play.go_on()
    world = play.begin("the rules are gone while an image is examined and an app is built")
    play.push("orange")
    world.push(TAG, GREEN)
    play.go_on(steps=1)
    world.operate.apps.rebuild("hello-world", WHO).act()
    play.go_on(steps=2, seconds=1)
    play.use("no gate")
    play.go_on()
    world = play.begin("an app that is built and not deployed", "no deployment")
    play.push("orange")


def _around_the_gate(play: Player) -> None:
    world = play.begin("a stable tag that nobody has promoted")
    world.registry.tags[STABLE] = FOREIGN
    world.tasks.seconds = 400.0
    world.push(TAG, ORANGE)
    play.go_on(steps=3, seconds=30)
    world.sweep_now()
    play.go_on(steps=1, seconds=30)


STORIES = (
    _promoted_and_again, _approvals, _decisions, _overtaken, _away, _drift, _by_task, _rules, _around_the_gate,
)  # fmt: skip


def play_all() -> list[Moment]:
    """Every moment whose work in flight is new."""
    known, moments = set[str](), list[Moment]()

    def keep(play: Player) -> None:
        what = sorted(set(_in_flight(play.world)) - known)
        if what:
            known.update(what)
            taken = take(play, what)
            moments.append(msgspec.structs.replace(taken, end=end_of(taken)))

    player = Player(keep)
    for story in STORIES:
        story(player)
    return moments


def _in_flight(world: World) -> Iterator[str]:
    """The work in flight, in short: the kinds of records with their progress, and the kinds of messages."""
    yield from (_shown(kind, body) for (kind, _, _), (body, _) in world.ledger.rows.items() if kind in KINDS)
    for _, _, message in world.queue.waiting:
        words = message.kind if isinstance(message, WorkItem) else f"{message.hint} {message.again} {message.tries}"
        yield f"message: {words}"


def _announced(world: World) -> Iterable[Any]:
    """The announced outcomes; the fakes of the previous version have another name for them."""
    fields = vars(world.announcer)
    return [*fields["announced" if "announced" in fields else "told"]]


@cache
def _shown(kind: str, body: bytes) -> str:
    return f"{kind}: {' '.join(_words(msgspec.json.decode(body, type=KINDS[kind])))}".rstrip(" :")


def _words(record: Any) -> Iterator[str]:
    if isinstance(record, Record):
        yield record.state.value
        yield "open" if getattr(record, "is_open", not record.settled) else "closed"
        yield from ["stalled"] if record.stall else ["failing"] if record.failures else []
    if isinstance(record, Candidate):
        yield from (
            f"{one.kind} {'run' if one.run_id else 'claimed' if one.claimed_at else ''}" for one in record.checks
        )
    if isinstance(record, Promotion):
        yield from (record.progress, "moved" if record.moved_at else "")
    if isinstance(record, Rollout):
        yield record.cause.value
        yield from ["run"] if record.build.run_id else ["claimed"] if record.build.claimed_at else []
        yield from ["put"] if record.deploy.put_at else []
    if isinstance(record, Observation):
        yield from (name for name in ("doubted", "missed_at", "absent", "expectations") if getattr(record, name))
    if isinstance(record, StableTag):
        yield from (name for name in ("claim", "hold") if getattr(record, name))
    if isinstance(record, Alarm):
        yield f"{record.kind.name} {'stands' if record.ended_at is None else 'over'}"


def take(play: Player, what: list[str]) -> Moment:
    """A moment as JSON."""
    world = play.world
    rows = [Row(*key, keys_of(*key), msgspec.Raw(body)) for key, (body, _) in sorted(world.ledger.rows.items())]
    outside = {name: msgspec.Raw(msgspec.json.encode(_listed(_attribute(world, name)))) for name in OUTSIDE}
    queued = sorted([*play.handled, *world.queue.waiting], key=lambda one: one[:2])
    messages = [
        Message(due, one if isinstance(one, WorkItem) else None, one if isinstance(one, Hint) else None)
        for due, _, one in queued
    ]
    return Moment(
        story=play.story, what=what, policy=play.policy, now=world.clock.time,
        rows=rows, messages=messages, outside=outside,
    )  # fmt: skip


def _attribute(world: World, name: str) -> Any:
    holder, _, attribute = name.partition(".")
    return getattr(getattr(world, holder), attribute)


def _listed(value: Any) -> Any:
    """A value in its JSON form, in an order that does not depend on the process."""
    if isinstance(value, dict):
        return [(name, _listed(one) if isinstance(one, set) else one) for name, one in value.items()]
    return sorted(value) if isinstance(value, set) else list(value)


def keys_of(kind: str, partition: str, row: str) -> tuple[str, str]:
    """The keys of a record in the table."""
    named = KINDS.get(kind) or type(kind, (), {})
    return ledger_tables._partition_key(named, partition), ledger_tables._row_key(named, row)


def taken_up(moment: Moment) -> World:
    """The world as it was at a moment; everything that was unavailable is available again."""
    world = World(POLICIES[moment.policy]())
    world.clock.time = moment.now
    for number, one in enumerate(moment.rows):
        world.ledger.rows[one.kind, one.partition, one.row] = (bytes(one.body), str(number))
        insort(world.ledger._partitions.setdefault((one.kind, one.partition), []), one.row)
    world.ledger._version = len(moment.rows)
    for number, message in enumerate(moment.messages):
        content = message.item or message.hint
        assert content is not None  # a message is one of the two
        world.queue.waiting.append((message.due, number, content))
    world.queue._order = len(moment.messages)
    for name, shape in OUTSIDE.items():
        there, value = _attribute(world, name), msgspec.json.decode(moment.outside[name], type=shape)
        there.update(value) if isinstance(there, dict | set) else there.extend(value)
    return world


def end_of(moment: Moment) -> End:
    """The end that is reached from a moment, after some hours with their sweeps."""
    world = taken_up(moment)
    for _ in range(4):
        world.sweep_now()
        world.pass_time(3600)
    records = dict[str, str]()
    for kind, partition, row in sorted(world.ledger.rows):
        if kind in ("Candidate", "Promotion", "Rollout"):
            stored = world.ledger.load(KINDS[kind], partition, row)
            assert stored is not None  # it is listed
            ended = "settled" if stored.record.settled else "open"
            records[f"{kind} {row}"] = ended if kind == "Rollout" else stored.record.state.value
    heard = {f"{one.name} {one.subject}" for one in _announced(world) if not one.name.startswith("Drift")}
    stable = {tag: str(world.stable_tag(tag)) for tag in (TAG, "15.14")}
    return End(stable=stable, live=dict(_live(world)), records=records, heard=sorted(heard))


def _live(world: World) -> Iterator[tuple[str, str]]:
    for app in world.policy.apps.values():
        stored = world.ledger.load(AppRecord, app.name, "app")
        live = stored.record.live if stored else None
        shown = any(live is not None and image == live.reference for image, _ in world.containers.groups.values())
        yield app.name, f"{live.base if live else 'nothing'}, {'shown' if shown else 'not shown'}"


def unreadable(moment: Moment) -> Iterator[str]:
    """The rows of a moment that this version cannot read, except kinds that it does not have and never loads."""
    for one in moment.rows:
        if one.kind in KINDS:
            try:
                msgspec.json.decode(one.body, type=KINDS[one.kind])
            except msgspec.MsgspecError as error:
                yield f"{one.kind}: {error}"


def saved_again(moment: Moment) -> Moment:
    """A moment after this version has saved every record: fields that it does not know are dropped."""
    rows = [
        msgspec.structs.replace(
            one, body=msgspec.Raw(msgspec.json.encode(msgspec.json.decode(one.body, type=KINDS[one.kind])))
        )
        if one.kind in KINDS
        else one
        for one in moment.rows
    ]
    return msgspec.structs.replace(moment, rows=rows)


def main(word: str) -> None:
    """Run the command of a word."""
    logging.disable(logging.CRITICAL)
    if word == "play":
        numbers = itertools.count(1)
        secrets.token_hex = lambda nbytes=None: (
            f"{next(numbers):0{2 * (nbytes or 8)}x}"
        )  # so that the output is always the same
        answer: Any = play_all()
    else:
        moments = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Moment])
        verbs: dict[str, Callable[[Moment], Any]] = {
            "go on": end_of,
            "read": lambda moment: list(unreadable(moment)),
            "save again": saved_again,
        }
        answer = list(map(verbs[word], moments))
    sys.stdout.buffer.write(msgspec.json.encode(answer))


if __name__ == "__main__":
    main(sys.argv[1])
