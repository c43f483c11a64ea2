"""What is attached to a digest upstream is copied with it: by digest, within limits, and no image waits for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from shared.domain.alarm import Alarm
from shared.domain.errors import Malformed, Misconfigured, Retry, Throttled
from shared.domain.image import Digest
from shared.domain.promotion import Promotion
from shared.domain.stable_tag import HoldUntil
from shared.domain.sweep import SweepRecord
from shared.intake.upstreams import Upstreams
from shared.operations import Who
from shared.ports import Artifact, Descriptor, removal
from shared.promotion import referrers
from shared.promotion.decision_records import attestations_tag
from shared.promotion.referrer_manifest import referrer_manifest
from shared.sweep.job import JobRun
from shared.sweep.jobs.referrers import ReferrersJob
from tests.fakes import World, digest
from tests.fakes.registries import SBOM, FakeSigner, attached_manifest, digest_of
from tests.fakes.world import ProcessDied

GREEN, BLUE = digest("green"), digest("blue")
ALARM = "referrers could not be copied"
manifest = partial(attached_manifest, subject=GREEN)


class Upstream:
    """A world with an image, and what is attached to it upstream."""

    def __init__(self) -> None:
        self.world = World()

    def attach(self, *blobs: bytes, to: Digest = GREEN, body: bytes = b"", size: int = 0) -> Digest:
        """List a manifest, which is made of blobs or given."""
        body = body or manifest(*blobs, subject=to)
        there = self.world.referrers
        for content in (*blobs, b"{}", body):
            there.put(content)
        found = digest_of(body)
        there.listed.setdefault(to, []).append(Descriptor(digest=found, size=size or len(body)))
        return found

    def tag(self, suffix: str, *blobs: bytes) -> Digest:
        """Put a manifest under a tag of cosign."""
        for content in (*blobs, b"{}"):
            self.world.referrers.put(content)
        found = self.world.referrers.put(manifest(*blobs, subject=None))
        self.world.referrers.tagged[f"{GREEN.replace(':', '-')}{suffix}"] = found
        return found

    def promote(self, content: Digest = GREEN) -> None:
        """Push the image and wait until it is promoted."""
        self.world.push("15-alpine", content)
        self.world.settle()

    def promote_until(self, there: Callable[[Promotion], bool]) -> None:
        """Push the image and deliver what is queued until its promotion is so far."""
        self.world.push("15-alpine", GREEN)
        while not any(map(there, self.world.promotions())):
            self.world.next_item()

    def said(self) -> str:
        """What the promotion says of its referrers."""
        return next((one.why for one in self.world.promotion().history if one.what == "referrers copied"), "")

    @property
    def copied(self) -> list[Digest]:
        """The referrers at the target."""
        return self.world.registry.referrers.get(GREEN, [])

    @property
    def alarms(self) -> list[str]:
        """The announced beginnings and ends of alarms about referrers."""
        return [one.name for one in self.world.announcer.announced if one.data.get("kind") == ALARM]


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


def test_what_is_attached_upstream_is_attached_to_the_promoted_digest_with_the_same_bytes(upstream: Upstream) -> None:
    found = [upstream.attach(b"an SBOM"), upstream.attach(b"a signature", b"and more")]
    upstream.promote()
    registry, promotion = upstream.world.registry, upstream.world.promotion()
    assert upstream.copied == found
    assert all(registry.manifests["base", "node", one] == upstream.world.referrers.content[one] for one in found)
    assert {b"an SBOM", b"a signature", b"and more", b"{}"} <= set(registry.blobs.values())
    assert (promotion.referrers, promotion.settled, upstream.said()) == (tuple(found), True, "2 copied")


def test_where_nothing_is_attached_nothing_is_said_or_written(upstream: Upstream) -> None:
    upstream.promote()
    promotion = upstream.world.promotion()
    assert (promotion.settled, promotion.referrers, upstream.world.registry.manifests) == (True, (), {})
    assert not any("referrer" in entry.what for entry in promotion.history)


def test_the_stable_tag_and_the_rollouts_do_not_wait(upstream: Upstream) -> None:
    upstream.attach(b"an SBOM")
    upstream.world.referrers.list_fault = Retry("503")
    upstream.promote()
    assert upstream.world.stable_tag() == GREEN
    assert upstream.world.rollouts()
    assert "Promoted" in upstream.world.announcer.names


def test_a_second_tag_of_the_digest_reads_nothing_again(upstream: Upstream) -> None:
    upstream.attach(b"an SBOM")
    upstream.promote()
    upstream.world.referrers.reads.clear()
    upstream.world.push("15.14", GREEN)
    upstream.world.settle()
    assert upstream.world.referrers.reads == []
    assert upstream.world.promotion("15.14").history[-1].why == "0 copied; 1 there already"


def test_the_tags_of_cosign_are_copied_as_they_are(upstream: Upstream) -> None:
    found = upstream.tag(".sig", b"a signature")
    upstream.promote()
    assert upstream.world.registry.tags["base", f"node:{GREEN.replace(':', '-')}.sig"] == found
    assert upstream.world.promotion().referrers == (found,)


@pytest.mark.parametrize("record_first", [True, False])
def test_attestations_of_others_and_decision_records_are_under_one_tag(
    upstream: Upstream, *, record_first: bool
) -> None:
    world = upstream.world
    world.signer = FakeSigner()
    world.restart()
    if record_first:
        upstream.promote()
        upstream.tag(".att", b"an attestation")
        world.push("15.14", GREEN)
        world.settle()
    else:
        upstream.tag(".att", b"an attestation")
        upstream.promote()
    layers = [one.content for one in world.registry.layers[f"base/node:{attestations_tag(GREEN)}"]]
    assert b"an attestation" in layers
    records_of_a_promotion, promotions = 2, 2 if record_first else 1
    assert len([one for one in layers if b"payload" in one]) == records_of_a_promotion * promotions


def test_a_rule_switches_it_off(upstream: Upstream) -> None:
    upstream.attach(b"an SBOM")
    gate = msgspec.structs.replace(upstream.world.policy.gates["node"], referrers="ignore")
    upstream.world.use(msgspec.structs.replace(upstream.world.policy, gates={"node": gate}))
    upstream.promote()
    assert (upstream.copied, upstream.world.promotion().settled, upstream.said()) == ([], True, "")


def test_an_image_that_is_gone_by_then_gets_no_orphans(upstream: Upstream) -> None:
    upstream.attach(b"an SBOM")
    registry = upstream.world.registry
    upstream.promote_until(lambda promotion: promotion.referrers_due)
    registry.tags = {place: content for place, content in registry.tags.items() if place[0] != "base"}
    upstream.world.settle()
    assert (upstream.copied, registry.blobs) == ([], {})
    assert any(entry.what == "no referrers copied" for entry in upstream.world.promotion().history)


# Failures.


def test_after_a_few_tries_there_is_an_alarm_and_the_sweep_tries_again(upstream: Upstream) -> None:
    found = upstream.attach(b"an SBOM")
    upstream.world.referrers.list_fault = Retry("the source is away")
    upstream.promote()
    promotion = upstream.world.promotion()
    assert (promotion.settled, promotion.referrer_tries, promotion.referrers_problem) == (True, 3, "the source is away")
    assert (upstream.alarms, promotion.stall) == (["DriftFound"], None)
    upstream.world.clock.forward(3700)
    upstream.world.sweep_now()
    upstream.world.settle()
    assert (upstream.copied, upstream.alarms) == ([], ["DriftFound"])
    upstream.world.referrers.list_fault = None
    upstream.world.clock.forward(3700)
    upstream.world.sweep_now()
    upstream.world.settle()
    assert (upstream.copied, upstream.alarms) == ([found], ["DriftFound", "DriftResolved"])
    assert (upstream.world.promotion().referrers_problem, upstream.said()) == ("", "1 copied")


def test_the_alarm_ends_with_the_next_digest_that_has_none(upstream: Upstream) -> None:
    upstream.world.referrers.list_fault = Retry("the source is away")
    upstream.promote()
    upstream.world.referrers.list_fault = None
    upstream.promote(BLUE)
    upstream.world.clock.forward(3700)
    upstream.world.sweep_now()
    assert upstream.alarms == ["DriftFound", "DriftResolved"]


def test_what_was_not_copied_is_known_without_its_alarm(upstream: Upstream) -> None:
    found, world = upstream.attach(b"an SBOM"), upstream.world
    world.referrers.list_fault = Retry("the source is away")
    upstream.promote()
    (alarm,) = world.ledger.list(Alarm, "gates.node")
    world.ledger.commit(removal(alarm))
    world.sweep_now()
    assert [one.record.subject for one in world.ledger.list(Alarm, "gates.node")] == ["15-alpine"]
    world.referrers.list_fault = None
    world.settle()
    assert (upstream.copied, upstream.alarms) == ([found], ["DriftFound", "DriftFound", "DriftResolved"])


def test_a_tag_that_is_rolled_back_to_a_digest_without_its_referrers_gets_them(upstream: Upstream) -> None:
    found, world = upstream.attach(b"an SBOM"), upstream.world
    world.referrers.list_fault = Retry("the source is away")
    upstream.promote()
    world.referrers.list_fault = None
    upstream.promote(BLUE)
    world.sweep_now()
    assert (upstream.copied, upstream.alarms) == ([], ["DriftFound", "DriftResolved"])
    who = Who.of("ada", "blue is wrong")
    world.operate.gates.roll_back("node", "15-alpine", GREEN, HoldUntil.LIFTED, who).act()
    world.clock.forward(3700)
    world.sweep_now()
    world.settle()
    assert upstream.copied == [found]
    assert upstream.alarms == ["DriftFound", "DriftResolved"] * 2


def test_the_sweep_reads_each_promotion_once_for_what_is_left_to_copy(upstream: Upstream) -> None:
    upstream.promote()
    ledger, loaded = upstream.world.ledger, list[str]()
    load = ledger.load

    def counting(kind: type[Any], partition: str, row: str) -> Any:
        loaded.append(kind.__name__)
        return load(kind, partition, row)

    ledger.load = counting  # type: ignore[method-assign]
    rows = []
    for _ in range(3):
        loaded.clear()
        gate = upstream.world.policy.gates["node"]
        list(ReferrersJob(upstream.world.services, gate).batches(JobRun(SweepRecord(job="referrers.node"))))
        rows.append(loaded.count("Promotion"))
    assert rows == [1, 0, 0]


def test_a_target_that_refuses_the_app_is_a_failure_and_not_a_refusal_of_each(upstream: Upstream) -> None:
    upstream.attach(b"an SBOM")
    upstream.world.registry.put_fault = Misconfigured("403", remedy="give the app AcrPush")
    upstream.promote()
    assert upstream.alarms == ["DriftFound"]
    assert str(upstream.world.announcer.announced[-1].data["words"]).endswith("403. To fix it: give the app AcrPush")


def test_the_decision_record_is_attached_though_the_source_is_away(upstream: Upstream) -> None:
    upstream.world.signer = FakeSigner()
    upstream.world.restart()
    upstream.world.referrers.list_fault = Retry("503")
    upstream.promote()
    assert len(upstream.world.promotion().attached) == 2


@pytest.mark.parametrize("away", [True, False], ids=["they fail again", "they succeed"])
def test_another_try_of_the_referrers_does_not_say_that_the_signing_key_works(
    upstream: Upstream, *, away: bool
) -> None:
    world, signer = upstream.world, FakeSigner()
    signer.fault, world.signer = Misconfigured("403"), signer
    world.restart()
    world.referrers.list_fault = Retry("the source is away")
    upstream.promote()
    stalled = world.promotion()
    assert stalled.stall is not None
    assert (stalled.stall.dependency, stalled.referrers_problem) == ("signing key", "the source is away")
    world.referrers.list_fault = world.referrers.list_fault if away else None
    world.clock.forward(3700)
    world.sweep_now()
    world.pass_time(90)
    promotion = world.promotion()
    assert (promotion.referrers_due, promotion.referrers_problem == "") == (False, not away)
    assert promotion.failures >= stalled.failures
    assert not any(entry.what == "resumed" for entry in promotion.history)
    signer.fault = None
    world.pass_time(400)
    assert [entry.why for entry in world.promotion().history if entry.what == "resumed"] == ["signing key works again"]


def test_what_was_copied_before_a_failure_is_not_read_again(upstream: Upstream) -> None:
    first, second = upstream.attach(b"first"), upstream.attach(b"second")
    faults, reads = upstream.world.referrers.faults, upstream.world.referrers.reads
    faults[digest_of(b"second")] = Retry("503")
    upstream.promote_until(lambda promotion: promotion.referrer_tries == 1)
    faults.clear()
    upstream.world.settle()
    assert upstream.copied == [first, second]
    assert (reads.count(digest_of(b"first")), upstream.said()) == (1, "1 copied; 1 there already")


def test_a_referrer_that_takes_several_tries_continues_with_the_file_where_the_last_one_ended(
    upstream: Upstream,
) -> None:
    found, (first, second) = upstream.attach(b"first", b"second"), map(digest_of, (b"first", b"second"))
    faults, reads = upstream.world.referrers.faults, upstream.world.referrers.reads
    faults[second] = Retry("it takes too long")
    upstream.promote_until(lambda promotion: promotion.referrer_tries == 1)
    faults.clear()
    upstream.world.settle()
    assert upstream.copied == [found]
    assert (reads.count(first), reads.count(second)) == (1, 2)


def test_a_file_that_is_at_the_target_with_another_size_than_the_manifest_says_is_refused(upstream: Upstream) -> None:
    upstream.attach(b"a file")
    part = {"mediaType": SBOM, "digest": digest_of(b"a file"), "size": 7}
    upstream.attach(body=manifest(layers=[part]))
    upstream.promote()
    assert len(upstream.copied) == 1
    assert "is to have 7 bytes, and has 6" in upstream.said()


def test_a_worker_that_dies_between_two_referrers_copies_each_once(upstream: Upstream) -> None:
    found, deaths = [upstream.attach(b"first"), upstream.attach(b"second")], [True]
    put = upstream.world.registry.put_manifest

    def dying(*arguments: Any) -> None:
        put(*arguments)
        if deaths and deaths.pop():
            raise ProcessDied

    upstream.world.registry.put_manifest = dying  # type: ignore[method-assign, assignment]
    upstream.world.push("15-alpine", GREEN)
    upstream.world.settle_while_crashing()
    assert upstream.copied == found


# What means no good.


def test_of_ten_thousand_referrers_the_first_fifty_are_copied_and_the_others_counted(upstream: Upstream) -> None:
    for number in range(1000):
        upstream.attach(str(number).encode())
    upstream.world.referrers.left_out = 9000
    upstream.promote()
    assert len(upstream.copied) == 50
    assert upstream.said() == "50 copied; 9950 beyond the limits"


def test_a_list_without_an_end_is_counted_as_such(upstream: Upstream) -> None:
    upstream.attach(b"an SBOM")
    upstream.world.referrers.is_complete = False
    upstream.promote()
    assert upstream.said() == "1 copied; an unknown number beyond the limits"


def hostile(upstream: Upstream, case: str) -> None:
    """Attach something that must not get through."""
    blob = b"a file"
    part = {"mediaType": SBOM, "digest": digest_of(blob), "size": len(blob)}
    bodies = {
        "another subject": manifest(blob, subject=BLUE),
        "no subject": manifest(blob, subject=None),
        "an index": manifest(blob, mediaType="application/vnd.oci.image.index.v1+json", manifests=[]),
        "an index that says it is an image": manifest(blob, manifests=[]),
        "another media type": manifest(blob, mediaType="application/vnd.docker.distribution.manifest.v2+json"),
        "no manifest": b"[" * 20_000,
        "a subject for other readers": manifest(blob, Subject={"digest": BLUE}),
        "a digest for other readers": manifest(blob).replace(b'"size": 1}', b'"Digest": "' + BLUE.encode() + b'"}'),
        "a long type": manifest(blob, artifactType="x/" + "y" * 300),
        "two subjects": manifest(blob)[:-1] + b', "subject": {"digest": "' + GREEN.encode() + b'"}}',
        "a text with control characters": manifest(layers=[part | {"digest": "sha256:\x1b[2J\n" + "x" * 900}]),
        "a file from elsewhere": manifest(layers=[part | {"urls": ["https://evil.example/x"]}]),
        "another kind of digest": manifest(layers=[part | {"digest": "sha512:" + "0" * 128}]),
        "a size below zero": manifest(layers=[part | {"size": -1}]),
        "too many files": manifest(layers=[part | {"digest": f"sha256:{number:064x}"} for number in range(101)]),
        "a file of another size": manifest(layers=[part | {"size": 7}]),
        "a file that is longer than it says": manifest(layers=[part | {"size": 1}]),
    }
    match case:
        case "a size that is not listed":
            upstream.attach(blob, size=7)
        case "a manifest that is not there":
            upstream.world.referrers.listed[GREEN] = [Descriptor(digest=BLUE)]
        case "a file that is not there":
            upstream.attach(body=manifest(b"never stored"))
        case "a file that redirects to a private address":
            upstream.attach(blob)
            upstream.world.referrers.faults[digest_of(blob)] = Misconfigured(
                "redirected: 10.0.0.1 is a private address"
            )
        case "bytes with another digest":
            upstream.attach(blob)
            upstream.world.referrers.faults[digest_of(blob)] = Malformed("digest", "the bytes have another digest")
        case _:
            upstream.attach(blob, body=bodies[case])


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("another subject", f"it refers to {BLUE}"),
        ("no subject", "it refers to nothing"),
        ("an index", "it is an index"),
        ("an index that says it is an image", "it is an index"),
        ("another media type", "of the media type application/vnd.docker"),
        ("no manifest", "it is not the manifest of an artifact"),
        ("a subject for other readers", "it has the key Subject"),
        ("a digest for other readers", "it has the key Digest"),
        ("a long type", "its artifact type has 302 characters"),
        ("two subjects", "it has a key twice"),
        ("a text with control characters", "is not a digest"),
        ("a file from elsewhere", "a blob is to be fetched from another place"),
        ("another kind of digest", "is not a digest"),
        ("a size below zero", "a blob has the size -1"),
        ("too many files", "it has 102 blobs, more than 100"),
        ("a file of another size", "is to have 7 bytes, and has 6"),
        ("a file that is longer than it says", "sent more than 1 bytes"),
        ("a size that is not listed", "it is listed with 7 bytes, and has"),
        ("a manifest that is not there", "is listed, and is not there"),
        ("a file that is not there", "is listed, and is not there"),
        ("a file that redirects to a private address", "10.0.0.1 is a private address"),
        ("bytes with another digest", "the bytes have another digest"),
    ],
)
def test_what_means_no_good_is_refused_and_stops_nothing(upstream: Upstream, case: str, why: str) -> None:
    hostile(upstream, case)
    good = upstream.attach(b"an SBOM")
    upstream.promote()
    assert (upstream.copied, upstream.world.stable_tag(), upstream.alarms) == ([good], GREEN, [])
    assert upstream.said().startswith("1 copied; 1 refused, ")
    assert why in upstream.said()
    assert upstream.said().isprintable()


@pytest.mark.parametrize(("name", "limit"), [("BLOB_LIMIT_BYTES", 10), ("TOTAL_LIMIT_BYTES", 1000)])
def test_what_is_too_large_is_left_out_unread(
    upstream: Upstream, name: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(referrers, name, limit)
    upstream.attach(b"x" * 1001)
    good = upstream.attach(b"an SBOM")
    upstream.promote()
    assert (upstream.copied, upstream.said()) == ([good], "1 copied; 1 beyond the limits")
    assert digest_of(b"x" * 1001) not in upstream.world.referrers.reads


def test_a_file_of_more_than_eight_mebibytes_is_left_out(upstream: Upstream) -> None:
    part = {"mediaType": SBOM, "digest": digest_of(b"never stored")}
    for size in (8 * 1024 * 1024, 8 * 1024 * 1024 + 1):
        upstream.attach(body=manifest(layers=[part | {"size": size}]))
    upstream.promote()
    assert upstream.said().startswith("0 copied; 1 beyond the limits; 1 refused, "), "the smaller one was asked for"


def test_a_source_that_takes_too_long_is_left_and_tried_again(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.attach(b"an SBOM")
    monkeypatch.setattr(referrers, "READ_SECONDS", -1.0)
    upstream.promote()
    assert upstream.copied == []
    assert "it takes longer than" in upstream.world.promotion().referrers_problem


def test_a_source_that_limits_requests_is_left_alone_at_once(upstream: Upstream) -> None:
    for name in (b"first", b"second"):
        upstream.attach(name)
        upstream.world.referrers.faults[digest_of(name)] = Throttled("429", 30.0)
    upstream.promote()
    assert digest_of(b"second") not in upstream.world.referrers.reads
    said = [one.why for one in upstream.world.promotion().history if one.what == "copy of referrers failed"]
    assert (said[0], said[2]) == ("429", "429")
    assert "is backing off for 45 s more: 429" in said[1]
    assert upstream.world.referrers.reads.count(digest_of(b"first")) == 2, "not while it backs off"


def test_a_source_that_is_backing_off_is_asked_nothing(upstream: Upstream) -> None:
    found, world = upstream.attach(b"an SBOM"), upstream.world
    upstream.promote_until(lambda promotion: promotion.referrers_due)
    Upstreams(world.services).failed(world.policy.gates["node"], Throttled("429", 300.0))
    world.settle()
    assert (upstream.copied, world.referrers.ends, upstream.alarms) == ([], [], ["DriftFound"])
    world.clock.forward(3700)
    world.sweep_now()
    world.settle()
    assert (upstream.copied, upstream.alarms) == ([found], ["DriftFound", "DriftResolved"])


def test_copying_counts_as_requests_of_the_source(upstream: Upstream) -> None:
    found, world = [upstream.attach(b"first"), upstream.attach(b"second")], upstream.world
    source = msgspec.structs.replace(world.policy.registries["public"], requests_per_minute=10)
    world.use(msgspec.structs.replace(world.policy, registries={**world.policy.registries, "public": source}))
    upstream.promote_until(lambda promotion: promotion.referrer_tries == 1)
    assert upstream.copied == found[:1]
    assert "the limit of 10 requests a minute" in world.promotion().history[-1].why
    world.settle()
    assert upstream.copied == found


def test_a_tag_that_is_large_already_does_not_grow(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    registry, target, tag = upstream.world.registry, upstream.world.policy.registries["base"], attestations_tag(GREEN)
    for number in range(9):
        registry.add_layer(target, "node", tag, Artifact(media_type=SBOM, content=str(number).encode()))
    found = upstream.tag(".att", b"an attestation")
    monkeypatch.setattr(referrers, "_MANIFEST_LIMIT_BYTES", len(upstream.world.referrers.content[found]))
    upstream.promote()
    assert "too large to be added to" in upstream.said()
    assert len(registry.layers[f"base/node:{tag}"]) == 9


@pytest.mark.parametrize("changes", [{"layers": None}, {"mediaType": "application/vnd.oci.artifact.manifest.v1+json"}])
def test_what_no_layer_can_be_added_to_is_not_put_under_a_tag_of_cosign(changes: dict[str, Any]) -> None:
    body = manifest(b"an attestation", subject=None)
    assert referrer_manifest(body, GREEN, by_tag=True).layers
    with pytest.raises(Malformed, match="under a tag of cosign"):
        referrer_manifest(json.dumps(json.loads(body) | changes).encode(), GREEN, by_tag=True)


def test_an_artifact_manifest_of_the_release_candidates_is_read_too() -> None:
    part = {"mediaType": SBOM, "digest": digest_of(b"x"), "size": 1}
    made = {"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "artifactType": SBOM, "blobs": [part]}
    found = referrer_manifest(json.dumps(made | {"subject": {"digest": GREEN}}).encode(), GREEN)
    assert ([blob.digest for blob in found.blobs], found.artifact_type) == ([digest_of(b"x")], SBOM)
