"""Answers that break the specification or have no end: each is a clear error, in bounded time and memory."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
from collections.abc import Callable

import pytest

from shared.adapters.oci import Limits
from shared.domain.errors import BasegateError, Malformed, Misconfigured, Rejected, Retry
from tests.contract.registries.double import Asked, Reply, error_reply, json_reply
from tests.contract.registries.doubles import ANYONE, NAME, SMALL, Doubles
from tests.contract.registries.hostile import MANIFEST, Drip, Flood, head, manifest, raw, tags

TAKEN_BYTES = 8 * 1024 * 1024
"""Far more than the limit and what buffers hold, far less than a flood."""


def error_of(doubles: Doubles, answer: Callable[[Asked], Reply], limits: Limits = SMALL) -> BasegateError:
    """What reading a digest ends with; it names the image."""
    with pytest.raises(BasegateError) as caught:
        doubles.play(answer, limits=limits).digest_of(ANYONE, "node", "15")
    assert f"{NAME}/node" in str(caught.value)
    return caught.value


def listing(doubles: Doubles, answer: Callable[[Asked], Reply], limits: Limits = SMALL) -> BasegateError:
    """What listing tags ends with; it names the repository."""
    with pytest.raises(BasegateError) as caught:
        list(doubles.play(answer, limits=limits).tags(ANYONE, "node"))
    assert f"{NAME}/node" in str(caught.value)
    return caught.value


# Digests.


def test_the_digest_is_taken_of_the_bytes_where_the_registry_does_not_say_it(doubles: Doubles) -> None:
    expected = "sha256:" + hashlib.sha256(MANIFEST).hexdigest()
    assert doubles.play(manifest()).digest_of(ANYONE, "node", "15") == expected
    assert [asked.method for asked in doubles.asked] == ["HEAD", "GET"]


def test_a_registry_that_knows_no_head_is_asked_for_the_manifest(doubles: Doubles) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply(405) if asked.method == "HEAD" else Reply(200, {}, MANIFEST)

    assert doubles.play(answer).digest_of(ANYONE, "node", "15") is not None


def test_a_digest_that_is_not_that_of_the_bytes_is_told(doubles: Doubles) -> None:
    wrong = "sha256:" + "0" * 64

    def answer(asked: Asked) -> Reply:
        return Reply(200, {} if asked.method == "HEAD" else {"Docker-Content-Digest": wrong}, MANIFEST)

    error = str(error_of(doubles, answer))
    assert f"is {wrong} for {NAME}/node:15, and the digest of its bytes is sha256:" in error


@pytest.mark.parametrize("text", ["latest", "md5:1", "sha256:XYZ", "sha256:" + "A" * 64, "", "sha512:" + "0" * 128])
def test_a_digest_that_is_none_is_told(doubles: Doubles, text: str) -> None:
    error = error_of(doubles, manifest(Docker_Content_Digest=text))
    assert isinstance(error, Malformed)
    assert f"Docker-Content-Digest of {NAME}/node:15" in str(error)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"schemaVersion":', b"[]", b"[" * 100_000, b'{"a":' * 50_000])
def test_what_is_no_manifest_has_no_digest(doubles: Doubles, body: bytes) -> None:
    assert "is not a manifest" in str(error_of(doubles, manifest(body)))


def test_an_answer_to_a_question_that_was_not_asked_is_no_answer(doubles: Doubles) -> None:
    assert "unexpected status 304" in str(error_of(doubles, lambda _: Reply(304)))
    assert "unexpected status 204" in str(error_of(doubles, lambda _: Reply(204)))


def test_a_packed_answer_is_not_unpacked(doubles: Doubles) -> None:
    packed = gzip.compress(b" " * 1_000_000 + MANIFEST)
    assert "sent a compressed response" in str(error_of(doubles, manifest(packed, Content_Encoding="gzip")))


# Size and time.


@pytest.mark.parametrize(
    ("length", "piece"),
    [
        ("Content-Length: 9000000000", b"x" * 65536),
        ("Connection: close", b"x" * 65536),
        ("Transfer-Encoding: chunked", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    ],
)
def test_a_manifest_without_an_end_is_left(doubles: Doubles, length: str, piece: bytes) -> None:
    flood = Flood(head("200 OK", length), piece)
    error = error_of(doubles, lambda asked: Reply(200) if asked.method == "HEAD" else flood(asked))
    assert isinstance(error, Malformed)
    assert f"sent more than {SMALL.body_bytes} bytes" in str(error)
    assert flood.ended.wait(5)
    assert flood.sent < TAKEN_BYTES


def test_a_chunk_whose_size_has_no_end_is_left(doubles: Doubles) -> None:
    flood = Flood(head("200 OK", "Transfer-Encoding: chunked") + b"1;")
    assert isinstance(listing(doubles, flood), Malformed | Retry)
    assert flood.ended.wait(5)
    assert flood.sent < TAKEN_BYTES


def test_a_chunked_answer_is_read_to_its_end(doubles: Doubles) -> None:
    document = json.dumps({"tags": ["1", "2"]}).encode()
    pieces = [b"%x\r\n%b\r\n" % (len(part), part) for part in (document[:5], document[5:], b"")]
    reader = doubles.play(raw(head("200 OK", "Transfer-Encoding: chunked"), *pieces))
    assert list(reader.tags(ANYONE, "node")) == ["1", "2"]


def test_an_error_without_an_end_is_cut(doubles: Doubles) -> None:
    flood = Flood(head("500 Oh", "Connection: close"))
    assert isinstance(listing(doubles, flood), Retry)
    assert flood.ended.wait(5)
    assert flood.sent < TAKEN_BYTES


@pytest.mark.parametrize(
    "piece", [b"X-Much: " + b"x" * 65536, b"X-Many: x\r\n" * 1000], ids=["a long header", "many headers"]
)
def test_a_head_without_an_end_is_left(doubles: Doubles, piece: bytes) -> None:
    flood = Flood(b"HTTP/1.1 200 OK\r\n", piece)
    error = error_of(doubles, flood)
    assert isinstance(error, Malformed)
    assert "sent too many headers" in str(error)
    assert flood.ended.wait(5)
    assert flood.sent < TAKEN_BYTES


@pytest.mark.parametrize(
    "begin", [head("200 OK", "Content-Length: 100000"), b"HTTP/1.1 200 OK\r\nX: "], ids=["in the body", "in the head"]
)
def test_a_registry_that_drips_is_not_waited_for(doubles: Doubles, begin: bytes) -> None:
    drip = Drip(begin)
    error = listing(doubles, drip, Limits(answer_seconds=0.3))
    drip.stop()
    assert isinstance(error, Retry)
    assert f"{NAME} does not respond in time" in str(error)


def test_a_registry_that_is_silent_is_not_waited_for(doubles: Doubles) -> None:
    drip = Drip(b"", b"")
    error = error_of(doubles, drip, Limits(read_seconds=0.2))
    drip.stop()
    assert isinstance(error, Retry)
    assert f"{NAME} does not respond in time" in str(error)


@pytest.mark.parametrize(
    "begin", [b"", head("200 OK", "Content-Length: 100") + b"{"], ids=["before the answer", "in the body"]
)
def test_an_answer_that_breaks_off_passes_by_itself(doubles: Doubles, begin: bytes) -> None:
    assert isinstance(listing(doubles, raw(begin)), Retry)


def test_what_is_not_http_is_told(doubles: Doubles) -> None:
    error = error_of(doubles, raw(b"SSH-2.0-OpenSSH_9.2\r\n"))
    assert isinstance(error, Malformed)
    assert "is not HTTP" in str(error)


def test_lengths_that_contradict_each_other_are_told(doubles: Doubles) -> None:
    error = listing(doubles, raw(head("200 OK", "Content-Length: 5", "Content-Length: 6"), b"[]   "))
    assert isinstance(error, Malformed)


def test_a_connection_that_was_closed_meanwhile_is_made_anew(doubles: Doubles) -> None:
    digest = "sha256:" + "1" * 64
    reader = doubles.play(raw(head("200 OK", f"Docker-Content-Digest: {digest}", "Content-Length: 0")))
    assert [reader.digest_of(ANYONE, "node", "15") for _ in range(3)] == [digest] * 3


# Tags.


def test_pages_without_an_end_are_left(doubles: Doubles) -> None:
    numbers = itertools.count()

    def answer(_: Asked) -> Reply:
        number = next(numbers)
        return json_reply({"tags": [str(number)]}, Link=f'</v2/node/tags/list?last={number}>; rel="next"')

    error = listing(doubles, answer)
    assert isinstance(error, Malformed)
    assert f"{NAME}/node has more than 20 pages of tags" in str(error)
    assert len(doubles.asked) == 20


def test_pages_that_take_too_long_together_are_left(doubles: Doubles) -> None:
    numbers = itertools.count()
    answer = lambda _: json_reply({"tags": []}, Link=f'</v2/node/tags/list?last={next(numbers)}>; rel="next"')  # noqa: E731
    assert isinstance(listing(doubles, answer, Limits(listing_seconds=0.0)), Retry)


@pytest.mark.parametrize("link", ["/v2/node/tags/list?n=3", "?n=3", "/v2/node/tags/list?n=3&last=c"])
def test_pages_that_come_round_are_left(doubles: Doubles, link: str) -> None:
    error = listing(doubles, tags({"tags": ["a", "b", "c"]}, Link=f'<{link}>; rel="next"'))
    assert "which was read before" in str(error)
    assert len(doubles.asked) <= 2


def test_a_registry_that_knows_no_pages_is_believed_at_once(doubles: Doubles) -> None:
    assert list(doubles.play(tags({"tags": list("abcdefg")})).tags(ANYONE, "node")) == list("abcdefg")
    assert len(doubles.asked) == 1


def test_a_full_page_without_a_link_may_be_all_there_is(doubles: Doubles) -> None:
    assert list(doubles.play(tags({"tags": ["a", "b", "c"]})).tags(ANYONE, "node")) == ["a", "b", "c"]
    assert [dict(asked.query) for asked in doubles.asked] == [{"n": "3"}, {"n": "3", "last": "c"}]


def test_a_registry_that_pages_without_links_is_read_to_its_end(doubles: Doubles) -> None:
    def answer(asked: Asked) -> Reply:
        rest = [name for name in "abcdefg" if name > asked.query.get("last", "")]
        return json_reply({"tags": rest[:3]})

    assert list(doubles.play(answer).tags(ANYONE, "node")) == list("abcdefg")


def test_a_registry_that_gives_no_large_pages_is_asked_for_small_ones(doubles: Doubles) -> None:
    def answer(asked: Asked) -> Reply:
        if int(asked.query["n"]) > 100:
            return error_reply(413, "TAG_LIMIT_EXCEEDED", OCI_Tag_Limit="100")
        names = [f"1.{number:03}" for number in range(150)]
        return json_reply({"tags": [name for name in names if name > asked.query.get("last", "")][:100]})

    listed = list(doubles.play(answer, limits=Limits()).tags(ANYONE, "node"))
    assert listed == [f"1.{number:03}" for number in range(150)]
    assert [asked.query["n"] for asked in doubles.asked] == ["1000", "100", "100"]


@pytest.mark.parametrize("document", [{"tags": None}, {"tags": []}, {}])
def test_a_repository_may_have_no_tags(doubles: Doubles, document: object) -> None:
    assert list(doubles.play(tags(document)).tags(ANYONE, "node")) == []


@pytest.mark.parametrize("tag", ["", "-a", "a b", "a/b", "a" * 129, "../../etc", "\u202e15", "a\nb", "<script>"])
def test_a_name_that_is_no_tag_is_handed_on_and_never_asked_for(doubles: Doubles, tag: str) -> None:
    reader = doubles.play(tags({"tags": ["15", tag]}))
    assert list(reader.tags(ANYONE, "node")) == ["15", tag]
    with pytest.raises(Malformed, match="is not a tag"):
        reader.digest_of(ANYONE, "node", tag)
    assert len(doubles.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"tags":' + b"[" * 100_000,
        b'{"x":' * 50_000,
        b'{"tags":["\xff"]}',
        b'{"tags":[1]}',
        b'{"tags":"15"}',
        b"[]",
        b"",
        b"<html>",
    ],
)
def test_a_list_that_is_none_is_told(doubles: Doubles, body: bytes) -> None:
    assert "is not a list of tags" in str(listing(doubles, lambda _: Reply(200, {}, body)))


@pytest.mark.parametrize(
    "link",
    [
        "<https://evil.example.net/v2/node/tags/list?last=a>; rel=next",
        "<//evil.example.net/v2/node/tags/list?last=a>; rel=next",
        f"<http://{NAME}/v2/node/tags/list?last=a>; rel=next",
        f"<https://{NAME}:8443/v2/node/tags/list?last=a>; rel=next",
        f"<https://user:word@{NAME}/v2/node/tags/list?last=a>; rel=next",
        "<https://169.254.169.254/metadata>; rel=next",
        "<" + "/a" * 5000 + ">; rel=next",
        "</v2/node/tags/list?last=a; rel=next",
    ],
)
def test_a_page_is_never_followed_to_another_place(doubles: Doubles, link: str) -> None:
    doubles.play(tags({"tags": ["evil"]}), "evil.example.net")
    error = listing(doubles, tags({"tags": ["a"]}, Link=link))
    assert isinstance(error, Malformed)
    assert error.field == "Link"
    assert len(doubles.asked) == 1
    assert "word" not in str(error)


# Errors in the registry's words.


def test_a_registry_with_a_fault_is_asked_again_when_it_says(doubles: Doubles) -> None:
    error = listing(doubles, lambda _: error_reply(503, "UNAVAILABLE", "back soon", Retry_After="17"))
    assert isinstance(error, Retry)
    assert error.delay_seconds == 17
    assert "503 UNAVAILABLE back soon" in str(error)


def test_a_refusal_is_told_in_the_registrys_words(doubles: Doubles) -> None:
    error = listing(doubles, lambda _: error_reply(400, "NAME_INVALID", "no such\nthing\x1b[31m"))
    assert isinstance(error, Rejected)
    assert str(error).endswith("400 NAME_INVALID no such")
    denied = listing(doubles, lambda _: error_reply(403, "DENIED", "not for you"))
    assert isinstance(denied, Misconfigured)
    assert "403 DENIED not for you. To fix it: check that the repository exists" in str(denied)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{" * 70_000, json.dumps({"errors": [{"code": 1}]}).encode()])
def test_a_refusal_without_words_is_a_refusal(doubles: Doubles, body: bytes) -> None:
    assert str(listing(doubles, lambda _: Reply(400, {}, body))).endswith(f"{NAME}/node: 400")
