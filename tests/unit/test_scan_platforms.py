"""Images for several platforms: which one a report is about, and what is said of the others."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from shared.attestation.statement import Scanner
from shared.checks import check_kinds
from shared.checks.scan import MANIFEST_LIMIT_BYTES
from shared.domain.candidate import CandidateState, ScanSummary
from shared.domain.errors import Malformed, Misconfigured, Rejected, Retry
from shared.findings.model import Severity, Subject
from shared.findings.platforms import LIMIT_NAMED, Scanned, platforms_of, scanned_of, warning
from shared.findings.rules import Condition
from shared.ports import RunStatus
from shared.queries.findings import ScanFindings
from tests.fakes import FakeRun, World, digest
from tests.unit.test_findings_shown import shown
from tests.unit.test_rescan import rescanned
from tests.unit.test_scan_check import (
    GREEN,
    OPENSSL,
    RED,
    SCAN,
    ZLIB,
    change,
    framed,
    push,
    report,
    scan_world,
    swept,
    will_report,
)

AMD, ARM = "sha256:" + "a" * 64, "sha256:" + "b" * 64
AMD64, ARM64 = {"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64", "variant": "v8"}
ATTESTATION = {"os": "unknown", "architecture": "unknown"}


def index(*platforms: dict[str, Any] | None) -> bytes:
    """An index with a manifest for each platform; the first two have the digests AMD and ARM."""
    digests = [AMD, ARM, *(digest(f"manifest {number}") for number in range(len(platforms)))]
    entries = [
        {"digest": one, "platform": platform} if platform else {"digest": one}
        for one, platform in zip(digests, platforms, strict=False)
    ]
    return json.dumps({"schemaVersion": 2, "manifests": entries}).encode()


def scanned(*platforms: dict[str, Any] | None, platform: str = "", digests: tuple[str, ...] = ()) -> Scanned:
    return scanned_of(platforms_of(index(*platforms)), Subject(platform=platform, digests=digests))


# which platform it is


@pytest.mark.parametrize(
    ("platforms", "text", "expected"),
    [
        ((AMD64, ARM64), "linux/amd64", Scanned("linux/amd64", ("linux/arm64/v8",))),
        ((AMD64, ARM64), "linux/arm64", Scanned("linux/arm64/v8", ("linux/amd64",))),
        ((AMD64, {**ARM64, "variant": ""}), "linux/arm64/v8", Scanned("linux/arm64", ("linux/amd64",))),
        ((AMD64, ARM64), "", Scanned("", ("linux/amd64", "linux/arm64/v8"))),
        ((AMD64, ARM64), "linux/s390x", Scanned("linux/s390x", ("linux/amd64", "linux/arm64/v8"))),
        ((AMD64, ATTESTATION), "", Scanned("linux/amd64")),
        ((AMD64, ATTESTATION), "linux/amd64", Scanned("linux/amd64")),
        ((AMD64,), "windows/amd64", Scanned("windows/amd64", ("linux/amd64",))),
        ((AMD64, None), "linux/amd64", Scanned("linux/amd64", (f"a manifest without a platform ({'b' * 12})",))),
        ((), "linux/amd64", Scanned("linux/amd64")),
    ],
)
def test_a_report_is_about_the_platform_that_it_names(
    platforms: tuple[dict[str, Any] | None, ...], text: str, expected: Scanned
) -> None:
    assert scanned(*platforms, platform=text) == expected


def test_a_report_is_about_the_manifest_whose_digest_it_names_whatever_platform_it_tells() -> None:
    assert scanned(AMD64, ARM64, platform="linux/amd64", digests=(ARM,)) == Scanned("linux/arm64/v8", ("linux/amd64",))


def test_a_name_that_several_manifests_have_is_of_none_of_them() -> None:
    windows = [{"os": "windows", "architecture": "amd64", "os.version": version} for version in ("10.1", "10.2")]
    names = ("windows/amd64 10.1", "windows/amd64 10.2")
    assert scanned(*windows, platform="windows/amd64") == Scanned("windows/amd64", names)
    arms = [{"os": "linux", "architecture": "arm", "variant": variant} for variant in ("v6", "v7")]
    assert scanned(*arms, platform="linux/arm") == Scanned("linux/arm", ("linux/arm/v6", "linux/arm/v7"))
    assert scanned(*arms, platform="linux/arm/v6") == Scanned("linux/arm/v6", ("linux/arm/v7",))


def test_names_of_an_index_are_printable_and_neither_long_nor_many() -> None:
    many = [{"os": "linux", "architecture": f"{number}\x1b[2J{'x' * 100}"} for number in range(LIMIT_NAMED + 5)]
    others = scanned(*many).others
    assert (len(others), others[-1]) == (LIMIT_NAMED + 1, "5 more")
    assert all(one.isprintable() and len(one) <= 60 for one in others)


@pytest.mark.parametrize("manifest", [b"", b"[]", b"\xff", b'{"manifests": 1}', b'{"manifests": [{"digest": 1}]}'])
def test_what_is_no_manifest_is_malformed(manifest: bytes) -> None:
    with pytest.raises(Malformed):
        platforms_of(manifest)


def test_the_manifest_of_an_image_has_no_platforms_to_tell_apart() -> None:
    assert platforms_of(b'{"schemaVersion": 2, "layers": []}') == ()
    assert platforms_of(b'{"manifests": null}') == ()


def test_the_warning_names_what_has_no_scan_and_what_the_report_is_about() -> None:
    assert warning("linux/amd64", ()) == ""
    named = warning("linux/amd64", ("linux/arm64", "linux/s390x"))
    assert named == "promoted without a scan: linux/arm64, linux/s390x (the report is about linux/amd64)"
    assert warning("", ("linux/arm64",)).endswith("(the report does not tell its platform)")


# at a gate


def about(world: World, **found: list[dict[str, str]]) -> None:
    """From now on, a scan is of the platform of its task's value, linux/amd64 without one, and finds these there."""

    def log_of(run: FakeRun) -> str:
        if "REPORT_NONCE" not in run.values or run.status is not RunStatus.SUCCEEDED:
            return run.log
        architecture = run.values.get("PLATFORM", "linux/amd64").partition("/")[2]
        document = json.loads(report(run.values["IMAGE"], *found.get(architecture, [])))
        document["Metadata"]["ImageConfig"] = {"os": "linux", "architecture": architecture}
        return framed(run, json.dumps(document).encode())

    world.tasks.log_of = log_of


def world_of_an_index(*platforms: dict[str, Any] | None) -> World:
    """A world in which the image is such an index, and a scan is of one of its platforms."""
    world = scan_world()
    world.referrers.content[GREEN] = index(*platforms)
    about(world)
    return world


def summaries(world: World) -> list[ScanSummary]:
    return [check.evidence.scan for check in world.candidate(GREEN).checks if check.evidence.scan]


def of_platform(platform: str, **rules: Any) -> Any:
    """A scan of one platform, by a value of its task."""
    return msgspec.structs.replace(SCAN, values={"PLATFORM": platform}, **rules)


def test_the_evidence_the_page_and_the_decision_name_what_was_scanned_and_what_was_not() -> None:
    world = world_of_an_index(AMD64, ARM64, ATTESTATION)
    push(world)
    (found,) = summaries(world)
    text = "promoted without a scan: linux/arm64/v8 (the report is about linux/amd64)"
    assert (found.platform, found.unscanned, found.warnings) == ("linux/amd64", ("linux/arm64/v8",), (text,))
    assert world.stable_tag() == GREEN
    assert ScanFindings(world.services).of_candidate(world.candidate(GREEN).id).warnings == (text,)
    (check,) = world.candidate(GREEN).checks
    stated = check_kinds(world.services)["scan"].facts(check, world.candidate(GREEN).image).scanner
    assert stated == Scanner(name="Trivy", platform="linux/amd64", unscanned=("linux/arm64/v8",))


def test_the_page_names_the_platform_also_where_only_the_manifest_tells_it() -> None:
    world = world_of_an_index(AMD64, ATTESTATION)
    will_report(world)
    push(world)
    assert shown(world).platform == "linux/amd64"


def test_an_image_for_one_platform_has_no_warning() -> None:
    for platforms in ((), (AMD64, ATTESTATION)):
        world = world_of_an_index(*platforms)
        push(world)
        assert (summaries(world)[0].unscanned, summaries(world)[0].warnings) == ((), ())


def test_a_report_that_is_judged_again_keeps_what_it_is_about_without_another_look() -> None:
    world = world_of_an_index(AMD64, ARM64)
    about(world, amd64=[OPENSSL])
    push(world)
    assert world.candidate(GREEN).state is CandidateState.FAILED
    world.referrers.reads.clear()
    change(world, msgspec.structs.replace(SCAN, fail_on=(), secrets="fail"))
    swept(world)
    (found,) = summaries(world)
    assert (world.stable_tag(), found.unscanned, len(found.warnings)) == (GREEN, ("linux/arm64/v8",), 1)
    assert world.referrers.reads == []


def test_a_scan_for_each_platform_leaves_none_out_and_each_must_pass() -> None:
    world = world_of_an_index(AMD64, ARM64)
    change(world, of_platform("linux/amd64"), of_platform("linux/arm64"))
    push(world)
    assert [one.platform for one in summaries(world)] == ["linux/amd64", "linux/arm64/v8"]
    assert [one.warnings for one in summaries(world)] == [(), ()]
    assert world.stable_tag() == GREEN

    world = world_of_an_index(AMD64, ARM64, {**AMD64, "architecture": "s390x"})
    about(world, arm64=[OPENSSL])
    change(world, of_platform("linux/amd64"), of_platform("linux/arm64"))
    push(world)
    assert (world.stable_tag(), "CVE-2026-1" in world.candidate(GREEN).reason) == (None, True)


def test_platforms_that_no_scan_is_about_are_told_by_the_last_scan_alone() -> None:
    world = world_of_an_index(AMD64, ARM64, {**AMD64, "architecture": "s390x"})
    change(world, of_platform("linux/amd64"), of_platform("linux/arm64"))
    push(world)
    warnings = [text for one in summaries(world) for text in one.warnings]
    assert warnings == ["promoted without a scan: linux/s390x (the report is about linux/arm64/v8)"]


def test_only_what_the_promoted_image_does_not_have_on_the_same_platform_is_new() -> None:
    world = world_of_an_index(AMD64, ARM64)
    world.referrers.content[RED] = index(AMD64, ARM64)
    about(world, amd64=[ZLIB])
    both = ("linux/amd64", "linux/arm64")
    change(world, *map(of_platform, both))
    push(world, RED)
    assert world.stable_tag() == RED, "a low finding does not fail"
    about(world, amd64=[ZLIB], arm64=[ZLIB])
    low = (Condition(severity=Severity.LOW),)
    change(world, *(of_platform(one, new_only=True, fail_on=low) for one in both))
    push(world)
    assert (world.candidate(GREEN).state, world.stable_tag()) == (CandidateState.FAILED, RED)
    assert [check.verdict for check in world.candidate(GREEN).checks if check.verdict] == ["passed", "failed"]


@pytest.mark.parametrize("fault", [Rejected("no pulls on Sundays"), Malformed("response", "too large")])
def test_a_manifest_that_cannot_be_read_is_told_and_no_verdict(fault: Exception) -> None:
    world = world_of_an_index()
    world.referrers.fault = fault  # type: ignore[assignment]
    push(world)
    (found,) = summaries(world)
    assert (world.stable_tag(), len(found.warnings)) == (GREEN, 1)
    assert "all others" in found.warnings[0]


def test_a_manifest_that_is_too_large_is_told() -> None:
    world = world_of_an_index()
    world.referrers.content[GREEN] = b" " * (MANIFEST_LIMIT_BYTES + 1)
    push(world)
    assert "all others" in summaries(world)[0].warnings[0]


@pytest.mark.parametrize("fault", [Retry("the source is away"), Misconfigured("no access")])
def test_a_source_that_is_away_is_waited_for(fault: Exception) -> None:
    world = world_of_an_index(AMD64, ARM64)
    world.referrers.fault = fault  # type: ignore[assignment]
    push(world)
    assert (world.stable_tag(), summaries(world)) == (None, [])
    world.referrers.fault = None
    world.pass_time(3600)
    world.sweep_now()
    world.settle()
    assert (world.stable_tag(), summaries(world)[0].unscanned) == (GREEN, ("linux/arm64/v8",))


# scanned again


def test_after_a_rescan_the_platforms_without_a_scan_are_still_named() -> None:
    world = world_of_an_index(AMD64, ARM64)
    change(world, msgspec.structs.replace(SCAN, rescan="24h"))
    push(world)
    text = "promoted without a scan: linux/arm64/v8 (the report is about linux/amd64)"
    for again in (False, True):
        found = shown(world)
        assert (found.warnings, found.platform) == ((text,), "linux/amd64")
        assert (found.scanned_again_at is not None) is again
        rescanned(world)


def test_after_rescans_of_each_platform_none_is_named() -> None:
    world = world_of_an_index(AMD64, ARM64)
    change(world, of_platform("linux/amd64", rescan="24h"), of_platform("linux/arm64", rescan="24h"))
    push(world)
    about(world, arm64=[OPENSSL])
    for _ in range(2):
        rescanned(world)
    found = shown(world)
    assert (found.warnings, found.platform, found.total) == ((), "linux/arm64/v8", 1)
    assert found.scanned_again_at is not None
