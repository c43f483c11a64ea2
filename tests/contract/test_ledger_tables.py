"""The ledger in a storage table."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import chain
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from azure.core.pipeline.transport import RequestsTransport
from azure.data.tables import TableServiceClient

from demo import scenario
from shared.adapters.ledger_tables import TableLedger
from shared.domain.errors import Conflict, Malformed, Retry
from shared.domain.image import Digest, Tag
from shared.domain.observation import Observation
from shared.domain.outcome import Delivery, Outcome
from shared.domain.record import Entry
from shared.domain.retention import IdempotentCall
from shared.domain.rollout import AppRecord, Cause, Rollout, RolloutState, RolloutSummary
from shared.domain.stable_tag import Claim, StableTag
from shared.ports import Change, Ledger, ListFilter, Page, Removal, Stored, removal
from shared.settings import TABLE
from tests.contract.place import Place
from tests.fakes import FakeLedger

ENDPOINT = f"https://{scenario.STORAGE}.table.core.windows.net"
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def ledger(place: Place) -> TableLedger:
    return TableLedger(ENDPOINT, place.credential)


@pytest.fixture
def tables(place: Place) -> Iterator[TableServiceClient]:
    with TableServiceClient(ENDPOINT, credential=place.azure.credential) as service:
        yield service


def rollout(app: str, name: str = "r1", reason: str = "") -> Rollout:
    return Rollout(
        app=app, name=name, cause=Cause.BASE, state=RolloutState.BUILDING, created_at=START, reason=reason
    )  # fmt: skip


def names(stored: Iterator[Stored[Rollout]]) -> list[str]:
    return [one.record.name for one in stored]


def test_a_table_that_is_not_there_is_made(place: Place, tables: TableServiceClient) -> None:
    tables.delete_table(TABLE)
    assert TABLE not in {table.name for table in tables.list_tables()}
    fresh = TableLedger(ENDPOINT, place.credential)
    assert fresh.load(Rollout, "made", "r1") is None
    assert TABLE in {table.name for table in tables.list_tables()}
    assert fresh.insert(rollout("made"))


def test_a_record_comes_back_as_it_was_stored(ledger: TableLedger) -> None:
    record = rollout("same", reason="Größe 😀 \"quoted\" 'and' \\ \x07 done").noting(START, "built", "with ca4")
    inserted = ledger.insert(record)
    assert inserted
    assert ledger.load(Rollout, "same", "r1") == inserted
    assert inserted.record == record


def test_a_record_is_inserted_once(ledger: TableLedger) -> None:
    assert ledger.insert(rollout("once", reason="first"))
    assert ledger.insert(rollout("once", reason="second")) is None
    kept = ledger.load(Rollout, "once", "r1")
    assert kept
    assert kept.record.reason == "first"


def test_a_save_replaces_and_gives_the_next_etag(ledger: TableLedger) -> None:
    first = ledger.insert(rollout("saved", reason="x" * 40_000))
    assert first
    second = ledger.save(first, rollout("saved", reason="short"))
    assert second.etag != first.etag
    assert ledger.save(second, rollout("saved", reason="shorter")).etag != second.etag
    kept = ledger.load(Rollout, "saved", "r1")
    assert kept
    assert kept.record.reason == "shorter"


def test_a_save_on_an_old_etag_changes_nothing(ledger: TableLedger) -> None:
    first = ledger.insert(rollout("stale"))
    assert first
    second = ledger.save(first, rollout("stale", reason="theirs"))
    with pytest.raises(Conflict, match="Rollout stale/r1: changed since it was read"):
        ledger.save(first, rollout("stale", reason="ours"))
    assert ledger.load(Rollout, "stale", "r1") == second


def test_a_save_of_a_record_that_was_removed_is_a_conflict(ledger: TableLedger, tables: TableServiceClient) -> None:
    stored = ledger.insert(rollout("removed"))
    assert stored
    tables.get_table_client(TABLE).delete_entity("app:removed", "rollout:r1")
    with pytest.raises(Conflict):
        ledger.save(stored, rollout("removed"))


def test_of_two_writers_at_the_same_time_one_wins(ledger: TableLedger) -> None:
    with ThreadPoolExecutor(2) as writers:
        inserted = list(writers.map(lambda who: ledger.insert(rollout("raced", reason=who)), "ab"))
        winner = next(one for one in inserted if one)
        assert inserted.count(None) == 1

        def save(who: str) -> bool:
            try:
                ledger.save(winner, rollout("raced", reason=who))
            except Conflict:
                return False
            return True

        assert sorted(writers.map(save, "cd")) == [False, True]


def test_a_record_of_many_chunks_comes_back_whole(ledger: TableLedger, tables: TableServiceClient) -> None:
    # Characters of four bytes in UTF-16 are the worst case for the limit of a property.
    history = tuple(Entry(START, "😀" * 500, f"{number} " + "ü" * 490) for number in range(100))
    record = msgspec.structs.replace(rollout("long"), history=history)
    inserted = ledger.insert(record)
    assert inserted
    assert len(tables.get_table_client(TABLE).get_entity("app:long", "rollout:r1").keys() & {"body05"}) == 1
    saved = ledger.save(inserted, msgspec.structs.replace(record, history=history[:40]))
    kept = ledger.load(Rollout, "long", "r1")
    assert kept == saved
    assert kept
    assert kept.record.history == history[:40]


def test_a_list_holds_the_rows_that_begin_with_a_prefix_in_their_order(ledger: TableLedger) -> None:
    for name in ("node-2", "node-10", "node", "nodf", "Node-1", "other"):
        ledger.insert(rollout("listed", name))
    ledger.insert(rollout("listed-elsewhere", "node-3"))
    assert names(ledger.list(Rollout, "listed", "node-")) == ["node-10", "node-2"]
    assert names(ledger.list(Rollout, "listed", "node")) == ["node", "node-10", "node-2"]
    assert names(ledger.list(Rollout, "listed")) == ["Node-1", "node", "node-10", "node-2", "nodf", "other"]
    assert names(ledger.list(Rollout, "no-such-app")) == []


def test_a_list_goes_on_over_many_pages(ledger: TableLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        ledger.insert(rollout("paged", f"r{number}"))
    query = ledger._table.query_entities
    monkeypatch.setattr(ledger._table, "query_entities", lambda *a, **k: query(*a, results_per_page=2, **k))
    assert names(ledger.list(Rollout, "paged")) == ["r0", "r1", "r2", "r3", "r4"]


def test_a_quote_in_a_name_is_only_a_quote(ledger: TableLedger) -> None:
    assert ledger.insert(rollout("o'neil", "it's"))
    assert ledger.load(Rollout, "o'neil", "it's")
    assert names(ledger.list(Rollout, "o'neil", "it'")) == ["it's"]


def test_a_storage_that_is_away_is_asked_again_later(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(RequestsTransport, "sleep", lambda _self, _seconds: None)
    away = TableLedger(ENDPOINT, place.credential)
    with pytest.raises(Retry, match=f"opening table {TABLE}: ServiceRequestError"):
        away.insert(rollout("away"))
    with pytest.raises(Retry):
        list(away.list(Rollout, "away"))


def test_a_list_comes_by_time_a_page_at_a_time_however_often_records_were_saved(ledger: TableLedger) -> None:
    for number in range(5):
        record = msgspec.structs.replace(rollout("timed", f"r{number}"), created_at=START + timedelta(minutes=number))
        stored = ledger.insert(record)
        assert stored
        ledger.save(stored, record.noting(START, "looked at"))
    first = ledger.page(Rollout, "timed", 2, "")
    second = ledger.page(Rollout, "timed", 2, first.next)
    third = ledger.page(Rollout, "timed", 2, second.next)
    ids = [[item.id for item in page.items] for page in (first, second, third)]
    assert ids == [["timed.r4", "timed.r3"], ["timed.r2", "timed.r1"], ["timed.r0"]]
    assert third.next == ""
    assert len(names(ledger.list(Rollout, "timed"))) == 5


def test_a_token_that_is_none_of_the_ledger_s_is_refused(ledger: TableLedger) -> None:
    for token in ("' or PartitionKey ne '", "~1", "e30", "x" * 5000):
        with pytest.raises(Malformed, match="token"):
            ledger.page(Rollout, "timed", 2, token)


def ids(page: Page[RolloutSummary]) -> list[str]:
    return [item.id.partition(".")[2] for item in page.items]


def whole(ledger: TableLedger, app: str, limit: int, only: ListFilter) -> list[str]:
    """The names of a list, page by page to its end."""
    page = ledger.page(Rollout, app, limit, "", only)
    found = ids(page)
    while page.next:
        page = ledger.page(Rollout, app, limit, page.next, only)
        assert len(page.items) <= limit
        found += ids(page)
    return found


def test_a_list_may_be_of_one_state_and_of_a_span_of_time(ledger: TableLedger) -> None:
    for number in range(6):
        record = msgspec.structs.replace(rollout("chosen", f"r{number}"), created_at=START + timedelta(minutes=number))
        stored = ledger.insert(record)
        assert stored
        if number % 2:
            ledger.save(stored, msgspec.structs.replace(record, state=RolloutState.LIVE))
    minute = [START + timedelta(minutes=number) for number in range(6)]
    assert whole(ledger, "chosen", 2, ListFilter(state="live")) == ["r5", "r3", "r1"]
    assert whole(ledger, "chosen", 10, ListFilter(since=minute[2], until=minute[4])) == ["r3", "r2"]
    assert whole(ledger, "chosen", 1, ListFilter(state="building", since=minute[1], until=minute[5])) == ["r4", "r2"]
    assert whole(ledger, "chosen", 2, ListFilter(state="' or state ne '")) == []
    long_ago, never = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
    assert len(whole(ledger, "chosen", 4, ListFilter(since=long_ago, until=never))) == 6
    assert (
        whole(ledger, "chosen", 4, ListFilter(since=never))
        == whole(ledger, "chosen", 4, ListFilter(until=long_ago))
        == []
    )


def test_a_page_that_is_full_and_the_last_one_leads_nowhere(ledger: TableLedger) -> None:
    for number in range(4):
        ledger.insert(msgspec.structs.replace(rollout("full", f"r{number}"), created_at=START))
    first = ledger.page(Rollout, "full", 2, "")
    assert first.next
    assert ledger.page(Rollout, "full", 2, first.next).next == ""


def test_the_token_of_another_list_shows_nothing_of_it(ledger: TableLedger) -> None:
    for number in range(3):
        ledger.insert(rollout("theirs", f"r{number}"))
    ledger.insert(rollout("ours"))
    token = ledger.page(Rollout, "theirs", 1, "").next
    assert set(ids(ledger.page(Rollout, "ours", 10, token))) <= {"r1"}


def test_every_move_of_a_stable_tag_stays_in_its_list(ledger: TableLedger) -> None:
    stable = StableTag(gate="moves", tag=Tag("15-alpine"))
    stored = ledger.insert(stable)
    assert stored
    for number in range(3):
        moved = msgspec.structs.replace(stable, moved_at=START, move=number + 1, candidate=f"{number}")
        stored = ledger.save(stored, moved)
        claim = Claim(mover="someone", digest=Digest("sha256:" + "0" * 64), until=START)
        stored = ledger.save(stored, msgspec.structs.replace(moved, claim=claim))
    page = ledger.page(StableTag, "moves", 10, "")
    assert [item.candidate for item in page.items] == ["moves.2", "moves.1", "moves.0"]
    assert [one.record.tag for one in ledger.list(StableTag, "moves")] == ["15-alpine"]


def test_records_of_one_gate_are_written_all_or_none(ledger: TableLedger) -> None:
    seen = Observation(gate="together", tag=Tag("15-alpine"), sequence=1)
    stable = StableTag(gate="together", tag=Tag("15-alpine"))
    first, second = ledger.commit(Change(seen), Change(stable))
    assert ledger.load(Observation, "together", "15-alpine") == first
    assert ledger.load(StableTag, "together", "15-alpine") == second
    ledger.save(second, msgspec.structs.replace(stable, move=1))
    raised = msgspec.structs.replace(seen, sequence=2)
    with pytest.raises(Conflict, match="Observation together/15-alpine and StableTag together/15-alpine"):
        ledger.commit(Change(raised, first), Change(stable, second))
    assert ledger.load(Observation, "together", "15-alpine") == first
    with pytest.raises(Conflict):
        ledger.commit(Change(raised, first), Change(stable))
    assert ledger.load(Observation, "together", "15-alpine") == first


@pytest.fixture(params=["table", "fake"])
def either(request: pytest.FixtureRequest, ledger: TableLedger) -> Ledger:
    """The ledger, and the fake that stands for it in other tests."""
    return ledger if request.param == "table" else FakeLedger()


@pytest.mark.parametrize("row", ["a/b", "a\\b", "a#b", "a?b", "a\nb", "a\x7fb", "a\x85b", "ü" * 510])
def test_a_key_that_the_service_does_not_take_is_refused_by_the_record_s_name(either: Ledger, row: str) -> None:
    with pytest.raises(Malformed, match=r"(?s)^Rollout keys/.*: not a valid key of the ledger"):
        either.insert(rollout("keys", row))
    assert either.load(Rollout, "keys", row) is None
    with pytest.raises(Malformed, match=r"^Rollout "):
        either.insert(rollout(row))


def test_a_key_of_a_kibibyte_is_taken(either: Ledger) -> None:
    app = "ü" * (512 - len("app:"))
    assert either.insert(AppRecord(app=app))
    assert either.load(AppRecord, app, "app")


@pytest.mark.parametrize("letter", ["x", "ü", "😀"])
def test_a_record_up_to_the_limit_is_kept_and_a_larger_one_refused_by_its_name(either: Ledger, letter: str) -> None:
    app, fits = f"large-{letter}", 500_000 // (2 if letter == "😀" else 1)
    kept = either.insert(AppRecord(app=app, deploying=letter * fits))
    assert kept
    with pytest.raises(Malformed, match=f"^AppRecord {app}/app: too large for the ledger"):
        either.save(kept, AppRecord(app=app, deploying=letter * (fits * 21 // 20)))
    assert either.load(AppRecord, app, "app") == kept


def test_more_than_a_hundred_rows_are_no_transaction(either: Ledger) -> None:
    few = [Change(rollout("many", f"r{number}")) for number in range(33)]  # each with its lines of two lists
    assert len(either.commit(*few, Change(AppRecord(app="many")))) == 34
    more = [Change(rollout("many", f"s{number}")) for number in range(34)]
    with pytest.raises(Malformed, match="begins with Rollout many/s0: too large for the ledger: 102 rows"):
        either.commit(*more)
    assert names(either.list(Rollout, "many", "s")) == []


def test_records_of_different_gates_or_twice_the_same_are_no_transaction(either: Ledger) -> None:
    with pytest.raises(Malformed, match="Rollout two/r1: cannot be written together with Rollout one/r1"):
        either.commit(Change(rollout("one")), Change(rollout("two")))
    with pytest.raises(Malformed, match="Rollout one/r1: written twice"):
        either.commit(Change(rollout("one")), Change(rollout("one")))
    assert names(either.list(Rollout, "one")) == []


def test_open_rows_that_are_gone_already_stop_no_transaction(ledger: TableLedger, tables: TableServiceClient) -> None:
    stored = [one for one in map(ledger.insert, (rollout("gone", "r1"), rollout("gone", "r2"))) if one]
    for row in ("}rollout:r1", "}rollout:r2"):
        tables.get_table_client(TABLE).delete_entity("app:gone", row)
    done = {"state": RolloutState.FAILED}
    ended = ledger.commit(*(Change(msgspec.structs.replace(one.record, **done), one) for one in stored))
    assert [ledger.load(Rollout, "gone", name) for name in ("r1", "r2")] == ended
    assert names(ledger.open(Rollout, "gone")) == []


def delivery(number: int) -> Delivery:
    outcome = Outcome(name="RolloutFailed", subject="apps/sent/rollouts/r1", data={}, id=f"{number:08}", at=START)
    return Delivery(listener="topic", owner="app:sent", number=number, outcome=outcome)


def test_an_outcome_is_written_with_its_cause_and_removed_whatever_it_has_become(either: Ledger) -> None:
    ended = msgspec.structs.replace(rollout("sent"), state=RolloutState.FAILED)
    _, *stored = either.commit(Change(ended), Change(delivery(1)), Change(delivery(2)))
    assert [one.record for one in either.list(Delivery, "app:sent", "topic.")] == [delivery(1), delivery(2)]
    either.save(stored[0], msgspec.structs.replace(delivery(1), parked_at=START))
    for _ in range(2):
        assert either.commit(Removal(delivery(1))) == [], "one that is gone already is fine"
    assert [one.record.number for one in either.list(Delivery, "app:sent")] == [2]
    found = either.load(Rollout, "sent", "r1")
    assert found
    (again,) = either.commit(Removal(delivery(1)), Change(ended, found), Removal(delivery(2)))
    assert again.record == ended
    assert list(either.list(Delivery, "app:sent")) == []


def test_what_is_old_is_removed_some_at_a_time(ledger: TableLedger) -> None:
    for number in range(5):
        at = START + timedelta(days=number)
        assert ledger.insert(IdempotentCall(key=f"f{number}", call="c", actor="a", at=at, answer="x" * 40_000))
    assert ledger.purge(IdempotentCall, "f", START + timedelta(days=4), 3) == 3
    assert ledger.purge(IdempotentCall, "f", START + timedelta(days=4), 3) == 1
    assert ledger.purge(IdempotentCall, "f", START + timedelta(days=4), 3) == 0
    assert [one.record.key for one in ledger.list(IdempotentCall, "f")] == ["f4"]


class EmptyPages:
    """A table whose queries give an empty page first, and a continuation: the service does so when its time is up."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def query_entities(self, *arguments: Any, **options: Any) -> Any:
        return SimpleNamespace(by_page=Pages(self._table.query_entities(*arguments, **options).by_page()))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)


class Pages:
    """Pages behind an empty one."""

    def __init__(self, pages: Iterator[Any]) -> None:
        self._pages = chain([iter(())], pages)

    def __call__(self) -> Pages:
        return self

    def __iter__(self) -> Pages:
        return self

    def __next__(self) -> Any:
        return next(self._pages)


def test_an_empty_page_with_a_continuation_is_no_end(place: Place) -> None:
    ledger = TableLedger(ENDPOINT, place.credential)
    ledger.__dict__["_table"] = EmptyPages(ledger._table)
    assert ledger.insert(rollout("emptied"))
    assert ledger.insert(IdempotentCall(key="e1", call="c", actor="a", at=START))
    assert names(ledger.list(Rollout, "emptied")) == names(ledger.open(Rollout, "emptied")) == ["r1"]
    assert names(ledger.between(Rollout, "emptied", "r0", "")) == ["r1"]
    assert ledger.purge(IdempotentCall, "e", START + timedelta(days=1), 3) == 1


def listed(ledger: Ledger, app: str) -> list[str]:
    return [line.id for line in ledger.page(Rollout, app, 10, "").items]


def test_a_record_is_removed_with_all_that_lists_show_of_it(either: Ledger) -> None:
    for name in ("r1", "r2", "r3"):
        assert either.insert(rollout("removed", name))
    first, second = either.list(Rollout, "removed", "r1"), either.list(Rollout, "removed", "r2")
    third = next(either.list(Rollout, "removed", "r3"))
    changed = msgspec.structs.replace(third.record, reason="changed in the same transaction")
    either.commit(removal(next(first)), removal(next(second)), Change(changed, third))
    assert names(either.list(Rollout, "removed")) == names(either.open(Rollout, "removed")) == ["r3"]
    assert listed(either, "removed") == ["removed.r3"]
    assert either.insert(rollout("removed", "r1")), "its name is free again"


def test_what_was_changed_or_removed_since_it_was_read_is_not_removed_and_nothing_with_it(either: Ledger) -> None:
    app = f"contested-{type(either).__name__}"
    for name in ("r1", "r2"):
        assert either.insert(rollout(app, name))
    read = [next(either.list(Rollout, app, name)) for name in ("r1", "r2")]
    saved = either.save(read[0], msgspec.structs.replace(read[0].record, reason="changed"))
    with pytest.raises(Conflict, match="changed since it was read"):
        either.commit(removal(read[1]), removal(read[0]))
    assert names(either.list(Rollout, app)) == ["r1", "r2"]
    either.commit(removal(saved))
    with pytest.raises(Conflict):
        either.commit(removal(read[1]), removal(saved))
    assert names(either.list(Rollout, app)) == ["r2"]
    assert listed(either, app) == [f"{app}.r2"]


def test_a_large_record_is_removed_and_more_than_a_hundred_rows_are_none(either: Ledger) -> None:
    app = f"many-{type(either).__name__}"
    stored = [either.insert(rollout(app, f"r{number:02}", "x" * 100_000)) for number in range(40)]
    doomed = [removal(one) for one in stored if one]
    with pytest.raises(Malformed, match="120 rows"):
        either.commit(*doomed)
    either.commit(*doomed[:33])
    assert len(names(either.list(Rollout, app))) == 7


def test_old_moves_leave_the_list_but_those_that_are_kept(either: Ledger) -> None:
    gate, stored = f"moves-{type(either).__name__}", None
    for number in range(1, 6):
        stable = StableTag(gate=gate, tag=Tag("15"), move=number, moved_at=START + timedelta(days=number))
        (stored,) = either.commit(Change(stable, stored))
    still = StableTag(gate=gate, tag=Tag("14"), move=1, moved_at=START)
    assert either.insert(still)
    assert sum(either.purge_moves(gate, START + timedelta(days=3, hours=1), {still.time_row})) == 3
    moves = either.page(StableTag, gate, 10, "").items
    assert [(line.tag, line.moved_at.day) for line in moves] == [("15", 6), ("15", 5), ("14", 1)]


def test_open_records_are_found_among_any_number_of_finished_ones(ledger: TableLedger) -> None:
    for number in range(5):
        ledger.insert(rollout("busy", f"r{number}"))
    for name in ("r1", "r3"):
        stored = ledger.load(Rollout, "busy", name)
        assert stored
        ledger.save(stored, msgspec.structs.replace(stored.record, state=RolloutState.FAILED))
    assert names(ledger.open(Rollout, "busy")) == ["r0", "r2", "r4"]
    assert names(ledger.list(Rollout, "busy")) == [f"r{number}" for number in range(5)]
    assert len(ledger.page(Rollout, "busy", 10, "").items) == 5


def test_a_record_that_is_taken_up_again_is_open_again(ledger: TableLedger) -> None:
    done = msgspec.structs.replace(rollout("again"), state=RolloutState.FAILED)
    stored = ledger.insert(done)
    assert stored
    assert names(ledger.open(Rollout, "again")) == []
    ledger.save(stored, rollout("again"))
    assert names(ledger.open(Rollout, "again")) == ["r1"]


def test_an_open_row_that_is_gone_already_stops_no_record(ledger: TableLedger, tables: TableServiceClient) -> None:
    stored = ledger.insert(rollout("bare"))
    assert stored
    tables.get_table_client(TABLE).delete_entity("app:bare", "}rollout:r1")
    ended = ledger.save(stored, msgspec.structs.replace(rollout("bare"), state=RolloutState.FAILED))
    assert ended.record.settled
    found = ledger.load(Rollout, "bare", "r1")
    assert found
    assert found.etag == ended.etag


def test_what_a_query_found_is_let_go_of_at_once_and_not_by_a_collection_of_garbage(ledger: TableLedger) -> None:
    for number in range(50):
        ledger.insert(rollout("garbage", f"r{number:02}"))
    assert len(names(ledger.list(Rollout, "garbage"))) == 50
    gc.collect()
    gc.disable()
    try:
        assert len(names(ledger.list(Rollout, "garbage"))) == 50
        assert len(names(ledger.between(Rollout, "garbage", "r00", ""))) == 50
        assert next(ledger.between(Rollout, "garbage", "r00", ""))
        assert gc.collect() < 50
    finally:
        gc.enable()


def test_records_between_two_rows_are_listed_with_both_ends(ledger: TableLedger) -> None:
    for name in ("a", "b", "c", "d"):
        ledger.insert(rollout("span", name))
    assert names(ledger.between(Rollout, "span", "b", "c")) == ["b", "c"]
    assert names(ledger.between(Rollout, "span", "c", "")) == ["c", "d"]
