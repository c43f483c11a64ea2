"""VEX documents: what each format says of which product, and what is refused or left out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.findings import vex
from shared.findings.model import Finding, Package
from shared.findings.purls import parse_purl
from shared.findings.vex import BrokenVex, Product, Statement, Status, is_about, read_openvex, read_vex

DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
IMAGE = f"pkg:oci/node@{DIGEST.replace(':', '%3A')}?repository_url=registry.example%2Fnode"
OPENSSL = "pkg:apk/alpine/openssl@1.1.1k-r0"
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ISO = "2026-01-02T03:04:05Z"


def openssl(version: str = "1.1.1k-r0") -> Finding:
    purl = f"pkg:apk/alpine/openssl@{version}?arch=x86_64"
    return Finding(vulnerability="CVE-2026-1", package=Package(name="openssl", version=version, purl=purl))


def openvex(*products: Any, **statement: Any) -> dict[str, Any]:
    usual = {"vulnerability": {"name": "CVE-2026-1"}, "products": products, "status": "not_affected"}
    return {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "author": "Ada",
        "timestamp": ISO,
        "version": 1,
        "statements": [usual | statement],
    }


def csaf(tree: dict[str, Any], status: dict[str, list[str]], **vulnerability: Any) -> dict[str, Any]:
    tracking = {"id": "x", "current_release_date": ISO, "initial_release_date": "2020-01-01T00:00:00Z"}
    return {
        "document": {"category": "csaf_vex", "publisher": {"name": "Ada"}, "tracking": tracking},
        "product_tree": tree,
        "vulnerabilities": [{"cve": "CVE-2026-1", "product_status": status, **vulnerability}],
    }


def full_name(name: str, **helper: Any) -> dict[str, Any]:
    return {"product_id": name, "name": name, "product_identification_helper": helper}


def cyclonedx(*affects: dict[str, Any], analysis: dict[str, Any] | None = None, **bom: Any) -> dict[str, Any]:
    vulnerability = {"id": "CVE-2026-1", "analysis": analysis or {"state": "not_affected"}, "affects": affects}
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "vulnerabilities": [vulnerability], **bom}


def read(document: object) -> tuple[Statement, ...]:
    return read_vex(json.dumps(document).encode())


def package(purl: str) -> Product:
    return Product(package=parse_purl(purl))


def part(purl: str) -> Product:
    found = parse_purl(purl)
    assert found is not None
    return Product(digest=DIGEST, packages=(found,))


# What a statement is about.


@pytest.mark.parametrize(
    ("product", "digests", "expected"),
    [
        (package("pkg:apk/alpine/openssl"), (), True),
        (package(OPENSSL), (), True),
        (package("pkg:apk/alpine/openssl@1.1.1l-r0"), (), False),
        (package("pkg:apk/wolfi/openssl"), (), False),
        (Product(digest=DIGEST), (OTHER, DIGEST), True),
        (Product(digest=DIGEST), (OTHER,), False),
        (part("pkg:apk/alpine/openssl"), (DIGEST,), True),
        (part("pkg:apk/alpine/busybox"), (DIGEST,), False),
        (part("pkg:apk/alpine/openssl"), (OTHER,), False),
        (Product(), (), False),
    ],
)
def test_a_statement_is_about_the_package_or_the_image_that_it_names(
    product: Product, digests: tuple[str, ...], expected: bool
) -> None:
    statement = Statement(vulnerability="cve-2026-1", products=(product,), status=Status.NOT_AFFECTED)
    assert is_about(statement, openssl(), frozenset(digests)) is expected


def test_a_statement_is_about_a_vulnerability_by_any_of_its_ids() -> None:
    products = (package(OPENSSL),)
    named = Statement(vulnerability="GHSA-x", aliases=("CVE-2026-1",), products=products, status=Status.FIXED)
    other = Statement(vulnerability="GHSA-x", aliases=("CVE-2026-2",), products=products, status=Status.FIXED)
    assert is_about(named, openssl(), frozenset())
    assert not is_about(other, openssl(), frozenset())


def test_a_package_is_fixed_in_the_version_that_is_named_and_in_no_other() -> None:
    every = Statement(vulnerability="CVE-2026-1", products=(package("pkg:apk/alpine/openssl"),), status=Status.FIXED)
    one = Statement(vulnerability="CVE-2026-1", products=(package(OPENSSL),), status=Status.FIXED)
    whole = Statement(vulnerability="CVE-2026-1", products=(Product(digest=DIGEST),), status=Status.FIXED)
    assert not is_about(every, openssl(), frozenset())
    assert is_about(one, openssl(), frozenset())
    assert not is_about(one, openssl("1.1.1j-r0"), frozenset())
    assert is_about(whole, openssl("1.1.1j-r0"), frozenset((DIGEST,)))


@pytest.mark.parametrize(
    ("stated", "found", "covers"),
    [
        ("pkg:golang/x/y@v1#api", "pkg:golang/x/y@v1#api", True),
        ("pkg:golang/x/y@v1", "pkg:golang/x/y@v1#api", True),
        ("pkg:golang/x/y@v1#api", "pkg:golang/x/y@v1", False),
        ("pkg:golang/x/y@v1#api", "pkg:golang/x/y@v1#server", False),
    ],
)
def test_what_is_said_of_a_part_of_a_package_is_not_said_of_the_rest(stated: str, found: str, covers: bool) -> None:
    (statement,) = read_vex(json.dumps(openvex(stated)).encode())
    finding = Finding(vulnerability="CVE-2026-1", package=Package(name="y", purl=found))
    assert is_about(statement, finding, frozenset()) is covers


def test_a_statement_in_words_says_who_says_what_when_and_why() -> None:
    (statement,) = read(openvex(OPENSSL, justification="component_not_present"))
    assert str(statement) == (
        "the VEX statement of Ada, 2026-01-02 that CVE-2026-1 is not affected: component_not_present"
    )


# OpenVEX.


def test_an_openvex_statement_has_its_vulnerability_status_reason_author_and_time() -> None:
    vulnerability = {"@id": "https://x/CVE-2026-1", "name": "CVE-2026-1", "aliases": ["GHSA-x"]}
    document = openvex({"@id": OPENSSL}, vulnerability=vulnerability, impact_statement="never called")
    assert read(document) == (
        Statement(
            vulnerability="CVE-2026-1",
            aliases=("GHSA-x",),
            products=(package(OPENSSL),),
            status=Status.NOT_AFFECTED,
            justification="never called",
            author="Ada",
            stated_at=AT,
        ),
    )


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        (OPENSSL, package(OPENSSL)),
        ({"@id": "https://x/openssl", "identifiers": {"purl": OPENSSL}}, package(OPENSSL)),
        ({"@id": IMAGE}, Product(digest=DIGEST)),
        ({"@id": f"registry.example/node@{DIGEST}"}, Product(digest=DIGEST)),
        ({"@id": DIGEST}, Product(digest=DIGEST)),
        ({"@id": "pkg:oci/node?tag=15", "hashes": {"sha-256": "a" * 64}}, Product(digest=DIGEST)),
        ({"@id": IMAGE, "subcomponents": [{"@id": OPENSSL}]}, part(OPENSSL)),
        ({"@id": IMAGE, "subcomponents": ["not a purl", OPENSSL]}, part(OPENSSL)),
        ({"@id": IMAGE, "subcomponents": [{"@id": "not a purl"}]}, None),
        ({"@id": "pkg:oci/node?tag=15"}, None),
        ({"@id": "pkg:apk/alpine/nginx", "subcomponents": [OPENSSL]}, None),
        ({"@id": "node 15", "identifiers": {"cpe23": "cpe:2.3:a:node:node:15:*:*:*:*:*:*:*"}}, None),
    ],
)
def test_an_openvex_product_is_a_package_an_image_or_packages_of_an_image(
    product: Any, expected: Product | None
) -> None:
    statements = read(openvex(product))
    assert [statement.products for statement in statements] == ([(expected,)] if expected else [])


def test_the_first_version_of_openvex_has_texts_and_subcomponents_beside_products() -> None:
    document = openvex(IMAGE, vulnerability="CVE-2026-1", subcomponents=[OPENSSL])
    (statement,) = read(document)
    assert (statement.vulnerability, statement.products) == ("CVE-2026-1", (part(OPENSSL),))


def test_the_time_of_an_openvex_statement_is_its_own_before_that_of_the_document() -> None:
    (own,) = read(openvex(OPENSSL, timestamp="2023-01-08T18:02:03.647787998-06:00"))
    assert own.stated_at is not None
    assert own.stated_at.astimezone(UTC).replace(microsecond=0) == datetime(2023, 1, 9, 0, 2, 3, tzinfo=UTC)
    (updated,) = read(openvex(OPENSSL, timestamp="2023-01-08T18:02:03Z", last_updated=ISO))
    assert updated.stated_at == AT


# CSAF.


def test_a_csaf_statement_has_its_products_from_the_tree_by_status_and_flag() -> None:
    branch = {"category": "vendor", "name": "x", "branches": [{"name": "y", "product": full_name("A", purl=OPENSSL)}]}
    tree = {
        "branches": [branch],
        "full_product_names": [full_name("B", purls=[IMAGE]), full_name("C", cpe="cpe:/a:x")],
    }
    status = {"known_not_affected": ["A", "B", "C", "D"], "recommended": ["A"], "known_affected": ["B"]}
    flags = [{"label": "component_not_present", "product_ids": ["A"]}]
    first, second, third = read(csaf(tree, status, flags=flags, ids=[{"system_name": "x", "text": "GHSA-x"}]))
    assert first == Statement(
        vulnerability="CVE-2026-1",
        aliases=("GHSA-x",),
        products=(package(OPENSSL),),
        status=Status.NOT_AFFECTED,
        justification="component_not_present",
        author="Ada",
        stated_at=AT,
    )
    assert (second.status, second.products, second.justification) == (
        Status.NOT_AFFECTED,
        (Product(digest=DIGEST),),
        "",
    )
    assert (third.status, third.products) == (Status.AFFECTED, (Product(digest=DIGEST),))


@pytest.mark.parametrize(
    ("component", "whole", "expected"),
    [
        ({"purl": OPENSSL}, {"purl": IMAGE}, part(OPENSSL)),
        ({"purl": IMAGE}, {"cpe": "cpe:/o:redhat:enterprise_linux:8"}, Product(digest=DIGEST)),
        ({"purl": OPENSSL}, {"cpe": "cpe:/o:redhat:enterprise_linux:8"}, None),
        ({"purl": OPENSSL}, {"purl": "pkg:generic/appliance@1"}, None),
    ],
)
def test_a_csaf_package_on_a_platform_is_only_that(
    component: dict[str, Any], whole: dict[str, Any], expected: Product | None
) -> None:
    relationship = {
        "category": "default_component_of",
        "product_reference": "A",
        "relates_to_product_reference": "B",
        "full_product_name": {"product_id": "B:A", "name": "A of B"},
    }
    tree = {
        "full_product_names": [full_name("A", **component), full_name("B", **whole)],
        "relationships": [relationship],
    }
    found = [statement.products for statement in read(csaf(tree, {"known_not_affected": ["B:A"]}))]
    assert found == ([(expected,)] if expected else [])


def test_another_csaf_document_makes_no_statements_and_is_refused_by_its_category() -> None:
    document = csaf({}, {})
    document["document"]["category"] = "csaf_security_advisory"
    with pytest.raises(BrokenVex, match="of category 'csaf_security_advisory': only csaf_vex"):
        read(document)


# CycloneDX.


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("not_affected", Status.NOT_AFFECTED),
        ("false_positive", Status.NOT_AFFECTED),
        ("resolved", Status.FIXED),
        ("resolved_with_pedigree", Status.FIXED),
        ("exploitable", Status.AFFECTED),
        ("in_triage", Status.UNDER_INVESTIGATION),
        ("something new", None),
    ],
)
def test_a_cyclonedx_analysis_is_a_statement(state: str, status: Status | None) -> None:
    analysis = {"state": state, "justification": "code_not_reachable", "detail": "no TLS", "lastUpdated": ISO}
    statements = read(cyclonedx({"ref": OPENSSL}, analysis=analysis))
    if status is None:
        assert statements == ()
        return
    assert statements == (
        Statement(
            vulnerability="CVE-2026-1",
            products=(package(OPENSSL),),
            status=status,
            justification="code_not_reachable: no TLS",
            stated_at=AT,
        ),
    )


def test_a_cyclonedx_finding_without_an_analysis_is_no_statement() -> None:
    document = cyclonedx({"ref": OPENSSL})
    del document["vulnerabilities"][0]["analysis"]
    assert read(document) == ()


@pytest.mark.parametrize(
    ("affects", "bom", "expected"),
    [
        (
            {"ref": "a"},
            {"components": [{"bom-ref": "b", "components": [{"bom-ref": "a", "purl": OPENSSL}]}]},
            package(OPENSSL),
        ),
        ({"ref": f"urn:cdx:{'0' * 8}/1#pkg%3Aapk/alpine/openssl%401.1.1k-r0"}, {}, package(OPENSSL)),
        ({"ref": "a"}, {}, None),
        ({"ref": OPENSSL}, {"metadata": {"component": {"bom-ref": "i", "purl": IMAGE}}}, part(OPENSSL)),
        ({"ref": OPENSSL}, {"metadata": {"component": {"type": "container", "version": DIGEST}}}, part(OPENSSL)),
        ({"ref": "i"}, {"metadata": {"component": {"bom-ref": "i", "purl": IMAGE}}}, Product(digest=DIGEST)),
        ({"ref": OPENSSL}, {"metadata": {"component": {"bom-ref": "i", "name": "node:15"}}}, None),
        ({"ref": OPENSSL, "versions": [{"version": "2"}]}, {}, package("pkg:apk/alpine/openssl@2")),
        ({"ref": OPENSSL, "versions": [{"range": "vers:apk/<2", "status": "affected"}]}, {}, None),
    ],
)
def test_a_cyclonedx_product_is_a_package_in_the_image_that_the_document_is_about(
    affects: dict[str, Any], bom: dict[str, Any], expected: Product | None
) -> None:
    found = [statement.products for statement in read(cyclonedx(affects, **bom))]
    assert found == ([(expected,)] if expected else [])


def test_other_ids_of_a_cyclonedx_vulnerability_are_aliases() -> None:
    document = cyclonedx({"ref": OPENSSL})
    document["vulnerabilities"][0]["references"] = [{"id": "GHSA-x", "source": {"name": "y"}}]
    assert read(document)[0].ids == {"CVE-2026-1", "GHSA-X"}


# What is broken.


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"@context": 7}',
        b'{"document": {}}',
        b'{"document": 7}',
        b'{"@context": "https://openvex.dev/ns", "statements": [{"status": "not_affected"}]}',
        b'{"@context": "https://openvex.dev/ns", "statements": [{"vulnerability": "x", "status": "fine"}]}',
        b'{"@context": "https://openvex.dev/ns", "timestamp": "yesterday"}',
        b'{"@context": "https://openvex.dev/ns", "statements": "x"}',
        b'{"bomFormat": "CycloneDX", "components": [[]]}',
        b'{"bomFormat": "CycloneDX", "vulnerabilities": [{"affects": [{}]}]}',
        b'{"bomFormat": "CycloneDX", "components": [',
        b'{"bomFormat": "CycloneDX", "x": ' + b"[" * 100_000,
        b'{"bomFormat": "CycloneDX", "components": ' + b'[{"components": ' * 100_000,
        b"\xff\xfe{}",
        b'{"@context": "https://openvex.dev/ns", "author": "\xff"}',
        b"@context: https://openvex.dev/ns",
    ],
)
def test_what_is_no_vex_document_is_broken_with_a_reason_and_nothing_else(content: bytes) -> None:
    with pytest.raises(BrokenVex, match=r"VEX document"):
        read_vex(content)


def test_where_openvex_is_expected_a_document_of_another_format_is_refused() -> None:
    content = json.dumps(openvex("pkg:npm/x")).encode()
    assert read_openvex(content) == read_vex(content)
    for other in (csaf({}, {}), cyclonedx({"ref": "pkg:npm/x"})):
        with pytest.raises(BrokenVex, match="no OpenVEX document"):
            read_openvex(json.dumps(other).encode())


def test_products_of_a_wide_document_are_counted_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vex, "LIMIT_PRODUCTS", 5)
    assert len(read(openvex(*(f"pkg:npm/{number}" for number in range(5))))[0].products) == 5
    with pytest.raises(BrokenVex, match="name more than 5 products"):
        read(openvex(*(f"pkg:npm/{number}" for number in range(6))))
    with pytest.raises(BrokenVex, match="name more than 5 products"):
        read(openvex({"@id": IMAGE, "subcomponents": [f"pkg:npm/{number}" for number in range(5)]}))


def test_a_document_that_is_too_large_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vex, "LIMIT_BYTES", 10)
    with pytest.raises(BrokenVex, match="more than 10 bytes"):
        read(openvex(OPENSSL))


def test_deeply_nested_components_are_read_without_recursion() -> None:
    component: dict[str, Any] = {"bom-ref": "a", "purl": OPENSSL}
    for _ in range(300):
        component = {"components": [component]}
    assert read(cyclonedx({"ref": "a"}, components=[component]))[0].products == (package(OPENSSL),)


def test_a_justification_is_cut() -> None:
    assert len(read(openvex(OPENSSL, justification="x" * 5000))[0].justification) == 1000
