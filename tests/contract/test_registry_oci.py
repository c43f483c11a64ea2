"""Any registry: the real CNCF distribution with TLS and tokens."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.adapters.oci import Limits, Network, OciTagReader
from shared.domain.errors import Misconfigured
from shared.domain.policy import RegistryRule
from tests.contract.registries.distribution import Distribution
from tests.contract.registries.double import Certificates, Double
from tests.contract.registries.reading import PASSWORD, USER, WRONG, Passwords, nobody
from tests.contract.registries.token_service import TokenService


@pytest.fixture(scope="module")
def tokens() -> TokenService:
    return TokenService({USER: PASSWORD}, public=("library/",))


@pytest.fixture(scope="module")
def realm(certificates: Certificates, tokens: TokenService) -> Iterator[Double]:
    double = Double(certificates, tokens)
    yield double
    double.close()


@pytest.fixture(scope="module")
def distribution(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, tokens: TokenService, realm: Double
) -> Iterator[Distribution]:
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not there: make setup")
    folder = tmp_path_factory.mktemp("distribution")
    registry = Distribution(folder, certificates, tokens, f"https://{realm.host}/token")
    yield registry
    registry.close()


@pytest.fixture
def reader(certificates: Certificates) -> OciTagReader:
    return OciTagReader(Passwords(), nobody, Network(ca_bundle=str(certificates.bundle)), Limits(page_size=100))


def rule(distribution: Distribution, credentials: str = "") -> RegistryRule:
    return RegistryRule(name="own", server=distribution.host, credentials=credentials, private=True)


def test_anyone_reads_what_a_public_tag_points_at(distribution: Distribution, reader: OciTagReader) -> None:
    digest = distribution.put("library/node", "15", text="fifteen")
    assert reader.digest_of(rule(distribution), "library/node", "15") == digest
    moved = distribution.put("library/node", "15", text="fifteen again")
    assert reader.digest_of(rule(distribution), "library/node", "15") == moved != digest


def test_a_tag_that_is_not_there_is_none(distribution: Distribution, reader: OciTagReader) -> None:
    distribution.put("library/node", "15")
    assert reader.digest_of(rule(distribution), "library/node", "16") is None
    assert reader.digest_of(rule(distribution), "library/nothing", "16") is None
    assert list(reader.tags(rule(distribution), "library/nothing")) == []


def test_a_user_reads_what_is_not_public(distribution: Distribution, reader: OciTagReader) -> None:
    digest = distribution.put("team/app", "1")
    assert reader.digest_of(rule(distribution, "right"), "team/app", "1") == digest
    assert list(reader.tags(rule(distribution, "right"), "team/app")) == ["1"]


def test_what_is_not_public_is_refused_to_anyone_with_a_remedy(
    distribution: Distribution, reader: OciTagReader
) -> None:
    distribution.put("team/app", "1")
    with pytest.raises(Misconfigured, match=r"reading .*/team/app:1: 401.*name credentials on the registry's rule"):
        reader.digest_of(rule(distribution), "team/app", "1")


def test_a_wrong_password_is_refused_and_kept_out_of_the_error(
    distribution: Distribution, reader: OciTagReader
) -> None:
    distribution.put("team/app", "1")
    with pytest.raises(Misconfigured, match=r"401.*correct the secrets wrong-user and -password") as caught:
        reader.digest_of(rule(distribution, "wrong"), "team/app", "1")
    assert WRONG not in str(caught.value)


def test_three_thousand_tags_are_all_listed(distribution: Distribution, reader: OciTagReader) -> None:
    names = {f"1.{number}" for number in range(3000)}
    distribution.put("library/many", *names)
    found = list(reader.tags(rule(distribution), "library/many"))
    assert len(found) == 3000
    assert set(found) == names


def test_many_threads_share_one_token_and_a_few_connections(
    distribution: Distribution, tokens: TokenService, reader: OciTagReader
) -> None:
    digest = distribution.put("library/shared", "1")
    before, start = tokens.issued, threading.Barrier(16)

    def read(_: int) -> str | None:
        start.wait(5)
        return reader.digest_of(rule(distribution), "library/shared", "1")

    with ThreadPoolExecutor(16) as threads:
        assert set(threads.map(read, range(64))) == {digest}
    assert tokens.issued == before + 1
