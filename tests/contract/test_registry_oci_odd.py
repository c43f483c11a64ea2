"""Registries as they are found: gateways that refuse HEAD, lists with names that are no tags, pages that move away."""

from __future__ import annotations

import json

import pytest

from shared.adapters.oci import Limits, OciTagReader
from shared.domain.errors import Malformed, Retry, Throttled
from shared.domain.image import is_tag
from shared.domain.policy import RegistryRule
from tests.contract.registries.double import Asked, Reply, error_reply, json_reply
from tests.contract.registries.doubles import Doubles
from tests.fakes import digest

pytestmark = pytest.mark.contract
NAME = "odd.example.com"
RULE = RegistryRule(name="odd", server=NAME)
MANIFEST = json.dumps({"schemaVersion": 2, "manifests": []}).encode()


def found(reader: OciTagReader) -> list[str]:
    return list(reader.tags(RULE, "team/base"))


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_tag_is_gone_only_when_a_get_says_so_too(doubles: Doubles, status: int) -> None:
    def gone(asked: Asked) -> Reply:
        return error_reply(status if asked.method == "HEAD" else 404, "MANIFEST_UNKNOWN")

    assert doubles.play(gone, NAME, Limits()).digest_of(RULE, "team/base", "1") is None
    assert [one.method for one in doubles.asked] == ["HEAD", "GET"]


def test_a_manifest_that_only_a_get_is_given_is_found(doubles: Doubles) -> None:
    def answer(asked: Asked) -> Reply:
        return error_reply(404, "MANIFEST_UNKNOWN") if asked.method == "HEAD" else Reply(200, {}, MANIFEST)

    assert doubles.play(answer, NAME, Limits()).digest_of(RULE, "team/base", "1") is not None


def test_names_that_are_no_tags_are_handed_on_and_hide_no_tag(doubles: Doubles) -> None:
    """One that is longer than any tag is cut: a registry must not fill the memory with what nobody asks for."""
    listed = ["-ot-beta", "7.60.0", None, "x" * 1_000_000, "7.60.1"]
    reader = doubles.play(lambda asked: json_reply({"tags": listed}), NAME, Limits())
    names = found(reader)
    assert names == ["-ot-beta", "7.60.0", "(null)", "x" * 129, "7.60.1"]
    assert [is_tag(name) for name in names] == [False, True, False, False, True]


def test_a_later_page_that_is_not_there_is_a_fault_and_no_end(doubles: Doubles) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.query.get("last"):
            return error_reply(404, "NAME_UNKNOWN")
        return json_reply({"tags": ["1", "2"]}, Link='</v2/upstream/team/base/tags/list?n=2&last=2>; rel="next"')

    with pytest.raises(Retry, match=r"404.*a page of the list is missing"):
        found(doubles.play(answer, NAME, Limits()))


@pytest.mark.parametrize("at", ["", "https://back.example.net"])
def test_pages_go_on_where_the_answer_came_from(doubles: Doubles, at: str) -> None:
    def back(asked: Asked) -> Reply:
        if asked.query.get("last") == "b":
            return json_reply({"tags": ["c"]})
        return json_reply({"tags": ["a", "b"]}, Link=f'<{at}/v2/p/team/base/tags/list?n=2&last=b>; rel="next"')

    def front(asked: Asked) -> Reply:
        return Reply(307, {"Location": "https://back.example.net/v2/p/team/base/tags/list"}, b"")

    doubles.play(back, "back.example.net")
    assert found(doubles.play(front, NAME, Limits())) == ["a", "b", "c"]


def test_pages_go_on_nowhere_else(doubles: Doubles) -> None:
    link = '<https://elsewhere.example.net/v2/team/base/tags/list?n=2&last=b>; rel="next"'
    reader = doubles.play(lambda asked: json_reply({"tags": ["a", "b"]}, Link=link), NAME, Limits())
    with pytest.raises(Malformed, match=r"is on another host, elsewhere.example.net"):
        found(reader)


def test_a_list_of_sixteen_thousand_manifests_in_one_page_is_read(doubles: Doubles) -> None:
    manifest = {"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "timeUploadedMs": "1690000000000"}
    manifests = {digest(str(number)): manifest | {"tag": [str(number)]} for number in range(16_000)}
    body = {"manifest": manifests, "tags": [str(number) for number in range(16_000)]}
    assert len(found(doubles.play(lambda asked: json_reply(body), NAME, Limits()))) == 16_000


def test_a_refusal_that_says_when_to_come_back_is_a_throttle(doubles: Doubles) -> None:
    def answer(asked: Asked) -> Reply:
        refused = error_reply(403, "DENIED")
        return Reply(403, {**refused.headers, "Retry-After": "90"}, refused.body)

    with pytest.raises(Throttled) as caught:
        doubles.play(answer, NAME, Limits()).digest_of(RULE, "team/base", "1")
    assert caught.value.delay_seconds == 90
