"""What is attached to a digest is read at any registry, however much there is, and whatever it is."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from shared.adapters.oci import Limits, OciReferrers
from shared.adapters.oci.referrers import PAGES_LIMIT, REFERRERS_LIMIT
from shared.domain.errors import Gone, Malformed, Misconfigured, Retry
from shared.domain.image import Digest, parse_digest
from tests.contract.registries.double import Asked, Reply, error_reply, json_reply
from tests.contract.registries.doubles import ANYONE, NAME, Doubles
from tests.contract.registries.hostile import Drip, head

INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE = parse_digest("sha256:" + "a" * 64)
TAG = "sha256-" + "a" * 64
PATH = f"/v2/node/referrers/{IMAGE}"


def listed(number: int, artifact_type: str = "a/sig") -> dict[str, Any]:
    return {"digest": f"sha256:{number:064x}", "mediaType": "m", "artifactType": artifact_type, "size": 9}


def index(*manifests: object, **headers: str) -> Reply:
    return json_reply({"schemaVersion": 2, "manifests": list(manifests)}, 200, Content_Type=INDEX, **headers)


def reading(doubles: Doubles, answer: Callable[[Asked], Reply], limits: Limits | None = None) -> OciReferrers:
    return OciReferrers(doubles.play(answer, limits=limits or Limits(body_bytes=1024 * 1024)))


def numbers(*manifests: Any) -> list[int]:
    return [int(one.digest[7:], 16) for one in manifests]


def test_the_pages_of_the_api_are_read_in_their_order(doubles: Doubles) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.query.get("page"):
            return index(listed(3))
        return index(listed(1), listed(2), Link=f'<{PATH}?page=2>; rel="next"')

    found = reading(doubles, answer).attached(ANYONE, "node", IMAGE)
    assert numbers(*found.manifests) == [1, 2, 3]
    assert (found.left_out, found.is_complete) == (0, True)
    first = found.manifests[0]
    assert (first.media_type, first.artifact_type, first.size, first.tag) == ("m", "a/sig", 9, "")
    assert [asked.path for asked in doubles.asked] == [PATH, PATH]


@pytest.mark.parametrize("filters", [True, False])
def test_a_list_is_of_one_artifact_type_whether_or_not_the_registry_filters(doubles: Doubles, *, filters: bool) -> None:
    def answer(asked: Asked) -> Reply:
        assert asked.query == {"artifactType": "a/sig+json"}
        if filters:
            return index(listed(1, ""), OCI_Filters_Applied="artifactType")  # its word counts
        return index(listed(1, "a/sig+json"), listed(2, "a/sbom"))

    found = reading(doubles, answer).attached(ANYONE, "node", IMAGE, "a/sig+json")
    assert (numbers(*found.manifests), found.left_out) == ([1], 0)


@pytest.mark.parametrize(
    "response",
    [
        error_reply(404, "NOT_FOUND"),
        error_reply(400, "UNSUPPORTED"),
        Reply(200, {"Content-Type": "text/html"}, b"<html>sign in"),
    ],
    ids=["404", "400", "a page"],
)
def test_a_registry_without_the_api_is_asked_for_the_index_under_a_tag(doubles: Doubles, response: Reply) -> None:
    def answer(asked: Asked) -> Reply:
        return index(listed(1), listed(2, "a/sbom")) if asked.path.endswith(f"/manifests/{TAG}") else response

    referrers = reading(doubles, answer)
    assert numbers(*referrers.attached(ANYONE, "node", IMAGE).manifests) == [1, 2]
    assert numbers(*referrers.attached(ANYONE, "node", IMAGE, "a/sig").manifests) == [1]


def test_nothing_may_be_attached_at_all(doubles: Doubles) -> None:
    referrers = reading(doubles, lambda _: error_reply(404, "NOT_FOUND"))
    assert referrers.attached(ANYONE, "node", IMAGE).manifests == ()
    assert referrers.cosign_tags(ANYONE, "node", IMAGE) == ()


def test_the_tags_of_cosign_are_read_without_a_pull(doubles: Doubles) -> None:
    def answer(asked: Asked) -> Reply:
        assert asked.method == "HEAD" or asked.path.endswith(".att")
        there = asked.path.endswith((".sig", ".sbom"))
        return Reply(200, {"Docker-Content-Digest": "sha256:" + "1" * 64}) if there else Reply(404)

    found = reading(doubles, answer).cosign_tags(ANYONE, "node", IMAGE)
    assert [one.tag for one in found] == [f"{TAG}.sig", f"{TAG}.sbom"]
    assert found[0].digest == "sha256:" + "1" * 64


@pytest.mark.parametrize("kind", ["manifests", "blobs"])
def test_content_is_read_by_its_digest_and_within_a_limit(doubles: Doubles, kind: str) -> None:
    body = b"x" * 1000
    digest = parse_digest("sha256:" + hashlib.sha256(body).hexdigest())
    referrers = reading(doubles, lambda _: Reply(200, {}, body))
    read = referrers.manifest if kind == "manifests" else referrers.blob
    assert read(ANYONE, "node", digest, 1000) == body
    assert doubles.asked[0].path == f"/v2/node/{kind}/{digest}"
    with pytest.raises(Malformed, match="sent more than 999 bytes"):
        read(ANYONE, "node", digest, 999)
    with pytest.raises(Malformed, match=f"the bytes of {NAME}/node@{IMAGE} have the digest {digest}"):
        read(ANYONE, "node", IMAGE, 1000)


def test_content_that_is_listed_and_not_there_is_gone(doubles: Doubles) -> None:
    referrers = reading(doubles, lambda _: error_reply(404, "BLOB_UNKNOWN"))
    with pytest.raises(Gone, match="is listed, and is not there"):
        referrers.blob(ANYONE, "node", IMAGE, 1000)


def test_a_blob_may_be_on_another_host_which_gets_no_credentials(doubles: Doubles) -> None:
    body = b"payload"
    digest = parse_digest("sha256:" + hashlib.sha256(body).hexdigest())
    doubles.play(lambda asked: Reply(200, {}, body), "storage.example.net")
    referrers = reading(doubles, lambda _: Reply(307, {"Location": "https://storage.example.net/x?sig=1"}))
    assert referrers.blob(ANYONE, "node", digest, 100) == body


# A hostile list.


def test_ten_thousand_referrers_are_counted_and_not_all_returned(doubles: Doubles) -> None:
    answer = index(*(listed(number) for number in range(1, 10_001)))
    found = reading(doubles, lambda _: answer, Limits()).attached(ANYONE, "node", IMAGE)
    assert (len(found.manifests), found.left_out) == (REFERRERS_LIMIT, 10_000 - REFERRERS_LIMIT)


def test_invalid_descriptors_are_left_out_and_the_others_count(doubles: Doubles) -> None:
    bad = [
        {"digest": "sha256:x"}, {"digest": 1}, {}, [], None, "x", {**listed(9), "size": "big"},
        {**listed(9), "artifactType": "a" * 300}, {**listed(9), "mediaType": None},
    ]  # fmt: skip
    found = reading(doubles, lambda _: index(*bad, listed(1))).attached(ANYONE, "node", IMAGE)
    assert (numbers(*found.manifests), found.left_out) == ([1], len(bad))


def test_pages_without_an_end_are_left(doubles: Doubles) -> None:
    pages = itertools.count()

    def answer(_: Asked) -> Reply:
        page = next(pages)
        return index(listed(page + 1), Link=f'<{PATH}?page={page}>; rel="next"')

    found = reading(doubles, answer).attached(ANYONE, "node", IMAGE)
    assert (len(found.manifests), found.is_complete) == (PAGES_LIMIT, False)
    assert len(doubles.asked) == PAGES_LIMIT


def test_pages_that_come_round_are_left(doubles: Doubles) -> None:
    answer = index(listed(1), Link=f'<{PATH}>; rel="next"')
    found = reading(doubles, lambda _: answer).attached(ANYONE, "node", IMAGE)
    assert (numbers(*found.manifests), found.is_complete) == ([1], False)


def test_pages_that_take_too_long_together_are_left(doubles: Doubles) -> None:
    answer = index(Link=f'<{PATH}?page=2>; rel="next"')
    with pytest.raises(Retry, match="no time is left for it"):
        reading(doubles, lambda _: answer, Limits(listing_seconds=0.0)).attached(ANYONE, "node", IMAGE)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"manifests": 1}', b"[" * 100_000, b'{"manifests":[' + b"[" * 100_000])
def test_a_list_that_is_none_is_told(doubles: Doubles, body: bytes) -> None:
    with pytest.raises(Malformed, match="the response is not an index"):
        reading(doubles, lambda _: Reply(200, {"Content-Type": INDEX}, body)).attached(ANYONE, "node", IMAGE)


@pytest.mark.parametrize("by_tag", [False, True], ids=["by the API", "by its tag"])
def test_a_list_that_is_larger_than_a_manifest_may_be_is_told(doubles: Doubles, *, by_tag: bool) -> None:
    def answer(asked: Asked) -> Reply:
        body = json.dumps({"manifests": [], "x": "y" * 2000}).encode()
        return Reply(404) if by_tag and asked.path == PATH else Reply(200, {"Content-Type": INDEX}, body)

    with pytest.raises(Malformed, match="sent more than 1000 bytes"):
        reading(doubles, answer, Limits(body_bytes=1000)).attached(ANYONE, "node", IMAGE)


@pytest.mark.parametrize(
    "link", ["<https://evil.example.net/x>; rel=next", f"<http://{NAME}/x>; rel=next", "<x; rel=next"]
)
def test_a_page_is_never_followed_to_another_place(doubles: Doubles, link: str) -> None:
    with pytest.raises(Malformed) as caught:
        reading(doubles, lambda _: index(Link=link)).attached(ANYONE, "node", IMAGE)
    assert caught.value.field == "Link"
    assert len(doubles.asked) == 1


def test_a_registry_that_is_away_or_closed_is_an_error_and_no_empty_list(doubles: Doubles) -> None:
    away = reading(doubles, lambda _: error_reply(503, "UNAVAILABLE"))
    with pytest.raises(Retry, match="listing the referrers of"):
        away.attached(ANYONE, "node", IMAGE)
    closed = reading(doubles, lambda _: error_reply(403, "DENIED"))
    with pytest.raises(Misconfigured, match="403 DENIED"):
        closed.attached(ANYONE, "node", Digest(IMAGE))


def test_a_page_that_is_missing_is_read_again_later(doubles: Doubles) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply(404) if asked.query else index(Link=f'<{PATH}?page=2>; rel="next"')

    with pytest.raises(Retry, match="a page of the list is missing"):
        reading(doubles, answer).attached(ANYONE, "node", IMAGE)


# A deadline for the whole reading.

Read = Callable[[OciReferrers, float], object]
READS: dict[str, Read] = {
    "list": lambda one, ends_at: one.attached(ANYONE, "node", IMAGE, ends_at=ends_at),
    "tags": lambda one, ends_at: one.cosign_tags(ANYONE, "node", IMAGE, ends_at=ends_at),
    "manifest": lambda one, ends_at: one.manifest(ANYONE, "node", IMAGE, 100, ends_at=ends_at),
    "blob": lambda one, ends_at: one.blob(ANYONE, "node", IMAGE, 100, ends_at=ends_at),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_nothing_is_requested_after_the_deadline(doubles: Doubles, read: Read) -> None:
    with pytest.raises(Retry, match="no time is left for it"):
        read(reading(doubles, lambda _: index()), time.monotonic())
    assert doubles.asked == []


@pytest.mark.parametrize("begin", [b"", head("200 OK", "Content-Length: 100000")], ids=["in the head", "in the body"])
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_response_that_drips_ends_at_the_deadline(doubles: Doubles, read: Read, begin: bytes) -> None:
    drip, began = Drip(begin), time.monotonic()
    with pytest.raises(Retry, match=f"{NAME} does not respond in time"):
        read(reading(doubles, drip), began + 0.3)
    drip.stop()
    assert time.monotonic() - began < 3


def test_a_token_that_drips_ends_at_the_deadline(doubles: Doubles) -> None:
    drip, began = Drip(head("200 OK", "Content-Length: 100000")), time.monotonic()

    def answer(asked: Asked) -> Reply:
        challenge = f'Bearer realm="https://{NAME}/token"'
        return drip(asked) if asked.path == "/token" else Reply(401, {"WWW-Authenticate": challenge})

    with pytest.raises(Retry, match=f"getting a token for {NAME}/node: {NAME} does not respond in time"):
        reading(doubles, answer).attached(ANYONE, "node", IMAGE, ends_at=began + 0.3)
    drip.stop()
    assert time.monotonic() - began < 3
