"""What a run leaves behind: a readable end of its log, the line that tells most, and all of it in the archive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError

from shared.adapters.storage import BlobArchive
from shared.checks.task import LOG_LIMIT_BYTES, gather_evidence, telling_line
from shared.domain.candidate import CandidateState, Evidence, Verdict
from shared.domain.errors import BasegateError, Misconfigured, Rejected, Retry
from shared.domain.policy import RegistryRule
from shared.ports import Run, RunStatus
from tests.fakes import FakeArchive, FakeClock, FakeRegistry, FakeTasks, World, digest, registry_rule

REGISTRY = registry_rule("contosobaseartifacts", "base")
RUN = Run(run_id="ca4", status=RunStatus.FAILED, detail="Failed")


class OneLog(FakeTasks):
    """Every run has this log, or this fault."""

    def __init__(self, log: str | Exception) -> None:
        super().__init__(FakeClock(), FakeRegistry(FakeClock()))
        self._log = log
        self.asked_bytes = 0

    def log(self, registry: RegistryRule, run_id: str, limit_bytes: int) -> str:
        self.asked_bytes = limit_bytes
        if isinstance(self._log, Exception):
            raise self._log
        return self._log


class FaultyArchive(FakeArchive):
    """Keeps nothing."""

    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self._fault = fault

    def store(self, name: str, text: str) -> str:
        raise self._fault


def gather(log: str | Exception, archive: FakeArchive | None = None) -> Evidence:
    return gather_evidence(OneLog(log), archive or FakeArchive(), REGISTRY, RUN, "node/abc/ca4.log")


def test_the_whole_log_is_kept_and_its_end_recorded() -> None:
    archive = FakeArchive()
    log = "\n".join(f"line {number}" for number in range(100))
    evidence = gather(log, archive)
    assert archive.texts[evidence.log_blob] == log
    assert evidence.log_tail == tuple(f"line {number}" for number in range(85, 100))
    assert evidence.status == "Failed"


def test_a_log_is_asked_for_within_a_limit_and_long_lines_are_cut() -> None:
    tasks = OneLog("x" * 10_000)
    evidence = gather_evidence(tasks, FakeArchive(), REGISTRY, RUN, "n")
    assert tasks.asked_bytes == LOG_LIMIT_BYTES
    assert [len(line) for line in evidence.log_tail] == [300]


def test_blank_lines_and_progress_bars_do_not_push_the_end_out() -> None:
    log = "ERROR: Red\n" + "\n \r\n" * 50 + "pulling\rpulled\r\nend"
    assert gather(log).log_tail == ("ERROR: Red", "pulling", "pulled", "end")


@pytest.mark.parametrize(
    "fault", [Retry("503"), Rejected("404 BlobNotFound"), Misconfigured("403 AuthorizationFailed")]
)
def test_a_log_that_cannot_be_had_is_said_to_be_missing(fault: BasegateError) -> None:
    evidence = gather(fault)
    assert evidence.log_tail == (f"(the log could not be read: {fault})",)
    assert evidence.log_blob == ""


@pytest.mark.parametrize("fault", [Retry("503"), Rejected("409")])
def test_a_log_that_cannot_be_kept_still_has_its_end_recorded(fault: BasegateError) -> None:
    evidence = gather("ERROR: Red", FaultyArchive(fault))
    assert evidence.log_tail == ("ERROR: Red",)
    assert evidence.log_blob == ""
    assert evidence.status == f"Failed (the log could not be stored: {fault})"


def test_an_archive_that_may_not_be_written_is_a_matter_for_a_person() -> None:
    with pytest.raises(Misconfigured, match="Blob Data Contributor"):
        gather("ERROR: Red", FaultyArchive(Misconfigured("give the app Storage Blob Data Contributor")))


@pytest.mark.parametrize(
    ("tail", "line"),
    [
        (("Step 1", "ERROR: Invalid Color: Red", "failed to run step ID: validate"), "ERROR: Invalid Color: Red"),
        (("error: one", "error: two", "done"), "error: two"),
        (("Container failed during run: x", "failed to run step ID: x"), "failed to run step ID: x"),
        (("requested access to the resource is denied", "Run ID: ca4 failed after 3s"), "requested access to the res"),
        (("terror in the harbour", "the end"), "the end"),
        (("only this",), "only this"),
    ],
)
def test_the_tool_s_own_word_tells_more_than_the_runner_s(tail: tuple[str, ...], line: str) -> None:
    assert telling_line(Evidence(status="Failed", log_tail=tail)).startswith(line)


def test_without_a_log_the_status_has_to_do() -> None:
    assert telling_line(Evidence(status="Failed")) == "Failed"
    assert telling_line(Evidence()) == "no output"


@pytest.mark.parametrize("fault", [Retry("503"), Rejected("404"), Misconfigured("403")])
def test_a_passed_check_stays_passed_without_its_log(fault: BasegateError) -> None:
    world = World()
    world.tasks.log_fault = fault
    world.push("15-alpine", digest("green"))
    world.settle()
    candidate = world.candidate(digest("green"))
    assert (candidate.state, candidate.checks[0].verdict) == (CandidateState.PASSED, Verdict.PASSED)
    assert str(fault) in candidate.checks[0].evidence.log_tail[0]


def test_a_tool_s_own_error_is_more_telling_than_its_summary() -> None:
    tail = ("ERROR: Invalid Color: Red", "Validation Failed - Errors: 1", "failed to run step ID: x: exit status 1")
    assert telling_line(Evidence(log_tail=tail)) == "ERROR: Invalid Color: Red"


def _no_identity() -> Any:
    raise AssertionError("nothing is sent")


class AwayContainer:
    """A blob container that cannot be reached."""

    def __getattr__(self, name: str) -> Any:
        raise ServiceRequestError("no route to host")


@pytest.mark.parametrize(
    "call",
    [
        lambda archive: archive.store("node/ca4.log", "text"),
        lambda archive: archive.read("node/ca4.log"),
        lambda archive: archive.find("node/"),
        lambda archive: archive.remove("node/ca4.log"),
        lambda archive: archive.check(),
    ],
    ids=["store", "read", "find", "remove", "check"],
)
def test_an_archive_that_is_away_is_named_in_each_error(call: Callable[[BlobArchive], object]) -> None:
    archive = BlobArchive("https://evidence.example", _no_identity)
    vars(archive)["_container"] = AwayContainer()
    with pytest.raises(Retry, match="no route") as away:
        call(archive)
    assert away.value.dependency == "evidence (blobs)"
