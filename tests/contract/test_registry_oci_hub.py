"""Docker Hub's dialect, asked by its real names through a proxy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from shared.adapters.oci import Limits, Network, OciTagReader
from shared.domain.errors import Misconfigured, Throttled
from shared.domain.policy import RegistryRule
from shared.ports import Allowance
from tests.contract.registries.doorway import Doorway
from tests.contract.registries.double import Certificates, Double
from tests.contract.registries.hub import REGISTRY, TOKENS, Hub
from tests.contract.registries.reading import PASSWORD, WRONG, Passwords, nobody

ANYONE = RegistryRule(name="hub", server="docker.io")
MEMBER = RegistryRule(name="hub", server="docker.io", credentials="right")


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.manifests = {"library/node:15": b'{"schemaVersion":2}', "grafana/grafana:1": b'{"schemaVersion":2,"x":1}'}
    return hub


@pytest.fixture
def double(hub: Hub, certificates: Certificates) -> Iterator[Double]:
    double = Double(certificates, hub, REGISTRY, TOKENS)
    yield double
    double.close()


@pytest.fixture
def reader(double: Double, certificates: Certificates) -> Iterator[OciTagReader]:
    doorway = Doorway({REGISTRY: double.port, TOKENS: double.port})
    network = Network(proxies={"https": doorway.url}, ca_bundle=str(certificates.bundle))
    yield OciTagReader(Passwords(), nobody, network, Limits(page_size=100))
    doorway.close()


def test_an_official_image_is_under_library_whichever_way_it_is_written(hub: Hub, reader: OciTagReader) -> None:
    digest = hub.digest("library/node:15")
    assert reader.digest_of(ANYONE, "node", "15") == digest
    assert reader.digest_of(ANYONE, "library/node", "15") == digest
    assert reader.digest_of(ANYONE, "grafana/grafana", "1") == hub.digest("grafana/grafana:1")
    assert reader.digest_of(ANYONE, "node", "16") is None


def test_looking_is_no_pull(hub: Hub, double: Double, reader: OciTagReader) -> None:
    for _ in range(3):
        reader.digest_of(ANYONE, "node", "15")
    assert hub.remaining == 100
    assert {asked.method for asked in double.asked if "/manifests/" in asked.path} == {"HEAD"}


def test_a_token_is_fetched_once_for_each_repository(hub: Hub, double: Double, reader: OciTagReader) -> None:
    for _ in range(5):
        reader.digest_of(ANYONE, "node", "15")
        reader.digest_of(ANYONE, "grafana/grafana", "1")
    assert len(hub.issued) == 2
    assert len(double.paths("/token")) == 2
    assert len(double.paths("/manifests/")) == 2 * (5 + 1)


def test_many_threads_share_a_token_and_their_connections(hub: Hub, double: Double, reader: OciTagReader) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: reader.digest_of(ANYONE, "node", "15"), range(80)))
    assert found == {hub.digest("library/node:15")}
    assert len(hub.issued) == 1
    assert double.connections <= 2 * 8


def test_a_token_that_is_taken_no_more_is_renewed_once(hub: Hub, reader: OciTagReader) -> None:
    reader.digest_of(ANYONE, "node", "15")
    hub.revoked.update(hub.issued)
    assert reader.digest_of(ANYONE, "node", "15") == hub.digest("library/node:15")
    assert len(hub.issued) == 2


def test_a_token_whose_time_is_over_is_renewed_without_a_refusal_in_between(
    hub: Hub, double: Double, reader: OciTagReader
) -> None:
    hub.life_seconds = 1e-6  # type: ignore[assignment]
    reader.digest_of(ANYONE, "node", "15")
    double.asked.clear()
    reader.digest_of(ANYONE, "node", "15")
    assert double.paths() == ["/token", "/v2/library/node/manifests/15"]


def test_the_password_goes_to_the_token_service_and_nowhere_else(
    hub: Hub, double: Double, reader: OciTagReader
) -> None:
    reader.digest_of(MEMBER, "node", "15")
    assert hub.passwords == [PASSWORD]
    schemes = {(asked.headers["host"], asked.authorization.partition(" ")[0]) for asked in double.asked}
    assert schemes == {(REGISTRY, ""), (TOKENS, "Basic"), (REGISTRY, "Bearer")}


def test_a_wrong_password_is_refused_and_kept_out_of_the_error(reader: OciTagReader) -> None:
    rule = RegistryRule(name="hub", server="docker.io", credentials="registry-dockerhub")
    said = r"token for docker.io/library/node: 401 incorrect username or password.*registry-dockerhub-user"
    with pytest.raises(Misconfigured, match=said) as caught:
        reader.digest_of(rule, "node", "15")
    assert WRONG not in str(caught.value)


def test_what_the_hub_says_of_its_rate_limit_is_remembered(hub: Hub, reader: OciTagReader) -> None:
    assert reader.allowance(ANYONE) is None
    hub.remaining = 76
    reader.digest_of(ANYONE, "node", "15")
    expected = Allowance(limit=100, remaining=76, window_seconds=21600, source="203.0.113.7")
    assert reader.allowance(ANYONE) == expected


def test_too_many_requests_is_a_pause_as_long_as_the_hub_says(hub: Hub, reader: OciTagReader) -> None:
    hub.pause, hub.remaining = {"Retry-After": "37"}, 0
    with pytest.raises(Throttled, match=r"reading docker.io/library/node:15: 429") as caught:
        reader.digest_of(ANYONE, "node", "15")
    assert caught.value.delay_seconds == 37
    left = reader.allowance(ANYONE)
    assert left is not None
    assert left.remaining == 0


def test_a_pause_may_be_a_date_or_a_reset_or_unsaid(hub: Hub, reader: OciTagReader) -> None:
    def paused(pause: dict[str, str]) -> float:
        hub.pause = pause
        with pytest.raises(Throttled) as caught:
            reader.digest_of(ANYONE, "node", "15")
        return caught.value.delay_seconds

    soon = datetime.now(UTC) + timedelta(seconds=600)
    assert 500 < paused({"Retry-After": format_datetime(soon, usegmt=True)}) <= 600
    assert paused({"RateLimit-Reset": "90"}) == 90
    assert 500 < paused({"X-RateLimit-Reset": str(int(soon.timestamp()))}) <= 600
    assert paused({}) == 60
    assert paused({"Retry-After": "99999999"}) == 6 * 3600


def test_three_thousand_tags_come_in_thirty_pages(hub: Hub, double: Double, reader: OciTagReader) -> None:
    names = [f"1.{number:04}" for number in range(3000)]
    hub.listed["library/node"] = names
    assert list(reader.tags(ANYONE, "node")) == names
    assert len(double.paths("/tags/list")) == 30 + 1


def test_pages_that_nobody_takes_are_not_asked_for(hub: Hub, double: Double, reader: OciTagReader) -> None:
    hub.listed["library/node"] = [f"1.{number:04}" for number in range(3000)]
    assert list(itertools.islice(reader.tags(ANYONE, "node"), 5)) == [f"1.000{number}" for number in range(5)]
    assert len(double.paths("/tags/list")) == 1 + 1


def test_pages_that_have_not_changed_are_not_sent_again(hub: Hub, double: Double, reader: OciTagReader) -> None:
    hub.etags, hub.listed["library/node"] = True, [f"1.{number:04}" for number in range(250)]
    first = list(reader.tags(ANYONE, "node"))
    hub.listed["library/node"].append("2.0")
    double.asked.clear()
    assert list(reader.tags(ANYONE, "node")) == [*first, "2.0"]
    conditions = ["if-none-match" in asked.headers for asked in double.asked]
    assert conditions == [True, True, True]
