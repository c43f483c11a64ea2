"""The report in a run's log: found in the section of its step, and believed only whole and with the run's nonce."""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import tracemalloc
from collections.abc import Iterable, Iterator
from random import Random

import pytest

from shared.findings.frame import FrameReader
from shared.findings.model import BrokenReport

NONCE, OTHER = "3f0d9a52c1b84e67a0d4f2b95e7c8106", "0" * 32
REPORT = b'{"SchemaVersion": 2, "Results": []}\n' * 500
STAMP = "2026/11/30 12:00:01 "


def step(name: str) -> str:
    return f"{STAMP}Executing step ID: {name}. Timeout(sec): 600, Working directory: '', Network: ''"


def frame(report: bytes = REPORT, nonce: str = NONCE, digest: str = "", encoding: str = "gzip+base64") -> list[str]:
    packed = gzip.compress(report, mtime=0) if encoding == "gzip+base64" else report
    begin = f"BASEGATE-REPORT-BEGIN {nonce} {encoding}".rstrip()
    end = f"BASEGATE-REPORT-END {nonce} {digest or hashlib.sha256(report).hexdigest()}"
    return [begin, *base64.encodebytes(packed).decode().split(), end]


BEFORE = [f"{STAMP}Downloading source code...", step("scan-image"), "INFO vulnerability scanning is enabled"]
START = [step("scan"), f"{STAMP}Launching container with name: scan"]
AFTER = [f"{STAMP}Successfully executed container: scan", "", "Run ID: cb7 was successful after 9s", ""]


def log(*lines: Iterable[str]) -> bytes:
    return "\r\n".join(itertools.chain(*lines)).encode()


def read(content: bytes, name: str = "scan", limit_bytes: int = 10**9, chunk: int = 7) -> bytes:
    chunks = (content[at : at + chunk] for at in range(0, len(content), chunk))
    return b"".join(FrameReader(NONCE, name, limit_bytes).read(chunks))


@pytest.mark.parametrize("chunk", [1, 7, 76, 100_000])
@pytest.mark.parametrize("encoding", ["gzip+base64", "base64"])
def test_the_report_is_read_however_the_log_is_cut_into_chunks(chunk: int, encoding: str) -> None:
    assert read(log(BEFORE, START, frame(encoding=encoding), AFTER), chunk=chunk) == REPORT


def test_lines_may_end_with_a_line_feed_alone_and_the_log_with_the_frame() -> None:
    assert read(log(BEFORE, START, frame()).replace(b"\r", b"")) == REPORT


def test_lines_of_the_runner_within_the_frame_are_left_out() -> None:
    begin, first, *rest = frame()
    late = f"{STAMP}Successfully executed container: scan"
    assert read(log(BEFORE, START, [begin, first, late, *rest])) == REPORT


def test_frames_with_other_nonces_are_text_like_any_other() -> None:
    forged = frame(b"{}", OTHER)
    assert read(log(BEFORE, forged, START, forged, frame(), forged, AFTER)) == REPORT


def test_a_large_report_is_read_in_pieces_and_never_held_whole() -> None:
    def chunks() -> Iterator[bytes]:
        content = log(BEFORE, START, frame(bytes(10_000_000)), AFTER)
        return (content[at : at + 65_536] for at in range(0, len(content), 65_536))

    pieces = chunks()
    tracemalloc.start()
    try:
        sizes = [len(piece) for piece in FrameReader(NONCE, "scan").read(pieces)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(sizes) == 10_000_000
    assert max(sizes) <= 1024 * 1024
    assert peak < 4_000_000


BASE64 = frame()[1:-1]
ABOUT = f"sha256:{'4f' * 32}"
HOSTILE = {
    "in the step before": (log(BEFORE, frame()[:1]), "not printed by step scan, but elsewhere"),
    "no step at all": (log(BEFORE, AFTER), "has no step scan, which prints the report"),
    "no frame": (log(BEFORE, START, AFTER), "step scan printed no report"),
    "another nonce": (log(BEFORE, START, frame(nonce=OTHER), AFTER), "has another nonce than this run was given"),
    "before any step": (log(frame(), BEFORE, START, AFTER), "not printed by step scan, but elsewhere"),
    "another step": (log(BEFORE, START, AFTER, [step("test")], frame()), "not printed by step scan, but elsewhere"),
    "a step with a strange name": (log(START, [step("x\x1b[2Jy")], frame()), "not printed by step scan, but elsewhere"),
    "two frames": (log(BEFORE, START, frame(), frame(), AFTER), "two reports with this run's nonce"),
    "a frame in a frame": (log(BEFORE, START, frame()[:3], frame(), AFTER), "two reports with this run's nonce"),
    "a second one in another step": (log(START, frame(), [step("test")], frame()), "two reports"),
    "a step that plays the scan before it": (log([step("scan")], frame(), START, frame()), "has step scan twice"),
    "a step that plays the scan after it": (log(START, AFTER, [step("scan")], frame()), "has step scan twice"),
    "cut off": (log(BEFORE, START, frame()[:-1]), "cut off: its end is missing"),
    "cut off by a step": (log(BEFORE, START, frame()[:3], [step("x")], frame()[3:]), "another step begins within"),
    "cut off within gzip": (log(START, [frame()[0], *BASE64[:1], frame()[-1]]), "its gzip stream has no end"),
    "an end alone": (log(BEFORE, START, frame()[-1:], AFTER), "end of a report without its beginning"),
    "a hash of other bytes": (log(BEFORE, START, frame(digest="0" * 64), AFTER), "its sha256 hash is another one"),
    "no hash": (log(BEFORE, START, frame(digest="sha256"), AFTER), "last line has no sha256 hash"),
    "half a hash": (log(BEFORE, START, frame())[:-10], "last line has no sha256 hash"),
    "not base64": (log(START, [frame()[0], "INFO scanning…", *BASE64, frame()[-1]]), "is not base64"),
    "a masked secret": (log(START, frame()).replace(BASE64[0][4:12].encode(), b"***"), "is not base64"),
    "padding, then more": (log(START, [frame()[0], *BASE64, "QQ==", frame()[-1]]), "is not base64|end of its gzip"),
    "not gzip": (log(START, [frame()[0], "QUFB", frame()[-1]]), "is not gzip"),
    "two gzip streams": (log(START, [frame()[0], *frame(b"a")[1:-1], *BASE64, frame()[-1]]), "is not base64|end of"),
    "no encoding": (log(START, frame(encoding="")), "names no known encoding"),
    "an unknown encoding": (log(START, frame(encoding="xz+base64")), "names no known encoding"),
    "a digest that is none": (log(START, [f"{frame()[0]} sha256:0", *frame()[1:]]), "more than an encoding and the"),
    "two digests": (log(START, [f"{frame()[0]} {ABOUT} {ABOUT}", *frame()[1:]]), "more than an encoding and the"),
    "a line without an end": (
        log(START, [frame()[0], "A" * 100_000, *frame()[1:]]),
        "a line of the report has",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_log_whose_report_is_not_whole_and_alone_is_refused_in_a_sentence(name: str) -> None:
    content, message = HOSTILE[name]
    for chunk in (5, 1_000_000):
        with pytest.raises(BrokenReport, match=message):
            read(content, chunk=chunk)


def test_a_frame_may_say_which_image_its_report_is_about() -> None:
    for first, about in ((f"{frame()[0]} {ABOUT}", ABOUT), (frame()[0], "")):
        reader = FrameReader(NONCE, "scan")
        assert b"".join(reader.read([log(BEFORE, START, [first, *frame()[1:]], AFTER)])) == REPORT
        assert reader.digest == about


def test_a_report_that_unpacks_to_more_than_the_limit_ends() -> None:
    bomb = log(BEFORE, START, frame(bytes(3_000_001)), AFTER)
    assert len(read(bomb, limit_bytes=3_000_001, chunk=4096)) == 3_000_001
    with pytest.raises(BrokenReport, match="the report has more than 3000000 bytes"):
        read(bomb, limit_bytes=3_000_000, chunk=4096)


def test_one_changed_byte_anywhere_in_the_frame_changes_nothing_of_the_report_or_is_noticed() -> None:
    good, random, noticed = log(START, frame(), AFTER), Random(4), 0
    first, last = good.index(b"BASEGATE"), good.index(b"\r\n" + AFTER[0].encode())
    for at in random.sample(range(first, last), 200):
        changed = bytearray(good)
        changed[at] ^= 1 << random.randrange(8)
        try:
            assert read(bytes(changed), chunk=4096) == REPORT  # the time in gzip's header, the end of a line
        except BrokenReport:
            noticed += 1
    assert noticed > 150


def test_no_error_quotes_the_log() -> None:
    secret = "hunter2-hunter2"
    for line in (
        secret,
        step(secret),
        f"BASEGATE-REPORT-BEGIN {NONCE} {secret}",
        f"BASEGATE-REPORT-END {NONCE} {secret}",
    ):
        with pytest.raises(BrokenReport) as caught:
            read(log(START, [line], frame()[:2], [line], frame()[2:]))
        assert secret not in str(caught.value)


@pytest.mark.parametrize("nonce", ["", "short", "g" * 65, "a b" * 10, "ä" * 32])
def test_a_nonce_that_could_be_guessed_or_is_no_word_is_a_mistake_of_the_caller(nonce: str) -> None:
    with pytest.raises(ValueError, match="16 to 64 letters and digits"):
        FrameReader(nonce, "scan")
