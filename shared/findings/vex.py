"""VEX documents as statements: OpenVEX, CSAF (profile VEX) and CycloneDX. Pure, and bounded.

A statement covers a finding only where it says so of exactly that: of the image by its digest, or of the package by its
purl. What names its product in another way (a product's name, a CPE, a tag, a range of versions) covers nothing.

Sources: https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md,
https://docs.oasis-open.org/csaf/csaf/v2.0/os/csaf-v2.0-os.html#45-profile-5-vex,
https://cyclonedx.org/docs/1.6/json/#vulnerabilities
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec
from msgspec import Struct, field

from shared.findings.model import Finding, aware
from shared.findings.purls import IMAGE_TYPES, Purl, parse_purl

LIMIT_BYTES = 32_000_000
"""A larger document is refused."""

LIMIT_PRODUCTS = 200_000
"""How many products the statements of a document may name, all together."""

_TEXT_CHARACTERS = 1000
"""Where a justification is cut."""

_DIGEST = re.compile(r"(?:^|@)(sha256:[0-9a-f]{64})$")

T = TypeVar("T")


class BrokenVex(ValueError):
    """A document that cannot be used; the text says why."""


class Status(StrEnum):
    """What a statement says of a vulnerability in a product."""

    NOT_AFFECTED = "not_affected"
    AFFECTED = "affected"
    FIXED = "fixed"
    UNDER_INVESTIGATION = "under_investigation"


class Product(Struct, frozen=True, kw_only=True):
    """What a statement is about: a package, or an image by its digest, of which `packages` may name parts."""

    package: Purl | None = None
    digest: str = ""
    packages: tuple[Purl, ...] = ()

    def includes(self, package: Purl | None, digests: frozenset[str]) -> bool:
        """Whether it is that package, or in an image with one of these digests."""
        if self.digest:
            parts = self.packages
            return self.digest in digests and (not parts or _any_names(parts, package))
        return self.package is not None and _any_names((self.package,), package)


class Statement(Struct, frozen=True, kw_only=True, dict=True):
    """What somebody says about one vulnerability in some products."""

    vulnerability: str
    products: tuple[Product, ...]
    status: Status
    aliases: tuple[str, ...] = ()
    justification: str = ""
    author: str = ""
    stated_at: datetime | None = None

    @cached_property
    def ids(self) -> frozenset[str]:
        """All ids of the vulnerability, in upper case."""
        return frozenset(name.upper() for name in (self.vulnerability, *self.aliases))

    @property
    def covers(self) -> bool:
        """Whether a finding that it is about does not fail."""
        return self.status in (Status.NOT_AFFECTED, Status.FIXED)

    def __str__(self) -> str:
        """The statement in words."""
        author = f" of {self.author}" if self.author else ""
        at = f", {self.stated_at:%Y-%m-%d}" if self.stated_at else ""
        why = f": {self.justification}" if self.justification else ""
        return f"the VEX statement{author}{at} that {self.vulnerability} is {self.status.replace('_', ' ')}{why}"


def is_about(statement: Statement, finding: Finding, digests: frozenset[str]) -> bool:
    """Whether a statement is about a finding in an image with these digests.

    That a package without a version is `fixed` does not say which version is.
    """
    if statement.ids.isdisjoint(finding.ids):
        return False
    needs_version, package = statement.status is Status.FIXED, parse_purl(finding.package.purl)
    return any(
        product.includes(package, digests)
        for product in statement.products
        if product.package is None or product.package.version or not needs_version
    )


def newest(statements: Iterable[Statement], finding: Finding, digests: frozenset[str]) -> Statement | None:
    """The newest statement about a finding; of those of one time, one that does not cover it."""
    about = (statement for statement in statements if is_about(statement, finding, digests))
    return max(about, key=lambda one: (_time(one.stated_at), not one.covers), default=None)


def read_vex(content: bytes) -> tuple[Statement, ...]:
    """The statements of a document, in its order; those that name no image or package that can be compared are left
    out.

    Raises:
        BrokenVex: it is no VEX document, broken, or too large.
    """
    kind = _kind(content)
    if kind.is_openvex:
        statements = _openvex(_decoded(content, _OpenVex))
    elif kind.bom_format == "CycloneDX":
        statements = _cyclonedx(_decoded(content, _CycloneDx))
    elif bytes(kind.document):
        statements = _csaf(_decoded(content, _Csaf))
    else:
        raise BrokenVex("it is no VEX document: neither OpenVEX (@context), CSAF (document) nor CycloneDX (bomFormat)")
    return tuple(_bounded(statements))


def read_openvex(content: bytes) -> tuple[Statement, ...]:
    """The statements of an OpenVEX document; those of the other formats are refused.

    Raises:
        BrokenVex: it is no such document, broken, or too large.
    """
    if not _kind(content).is_openvex:
        raise BrokenVex("it is no OpenVEX document (@context)")
    return read_vex(content)


# What all formats share.


class _Kind(Struct, frozen=True):
    """What shows the format of a document."""

    context: Any = field(name="@context", default="")
    bom_format: Any = field(name="bomFormat", default="")
    document: msgspec.Raw = msgspec.Raw()

    @property
    def is_openvex(self) -> bool:
        """Whether it is OpenVEX, of any version."""
        return str(self.context).startswith("https://openvex.dev/ns")


def _kind(content: bytes) -> _Kind:
    if len(content) > LIMIT_BYTES:
        raise BrokenVex(f"the VEX document has more than {LIMIT_BYTES} bytes")
    return _decoded(content, _Kind)


def _decoded(content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BrokenVex(f"the VEX document cannot be read: {error}") from None


def _bounded(statements: Iterable[Statement]) -> Iterator[Statement]:
    """The statements that name a product and a vulnerability.

    Raises:
        BrokenVex: they name too many products.
    """
    named = 0
    for statement in statements:
        named += sum(1 + len(product.packages) for product in statement.products)
        if named > LIMIT_PRODUCTS:
            raise BrokenVex(f"the statements of the VEX document name more than {LIMIT_PRODUCTS} products")
        if statement.products and statement.vulnerability:
            yield statement


def _product(name: str, purl: str = "", hashes: Mapping[str, str] | None = None) -> Product | None:
    """A product by its purl, else by the digest in its name or among its hashes; None: it cannot be compared."""
    package = parse_purl(purl) or parse_purl(name)
    if package and package.kind not in IMAGE_TYPES:
        return Product(package=package)
    sums = {algorithm.lower().replace("-", ""): value.lower() for algorithm, value in (hashes or {}).items()}
    for text in (package.version if package else "", name, f"sha256:{sums.get('sha256', '')}"):
        if found := _DIGEST.search(text):
            return Product(digest=found[1])
    return None


def _part(image: Product | None, part: Product | None) -> Product | None:
    """A package as part of an image; None if one of them cannot be compared."""
    if image and image.digest and part and part.package:
        return Product(digest=image.digest, packages=(part.package,))
    return None


def _present(products: Iterable[Product | None]) -> tuple[Product, ...]:
    return tuple(dict.fromkeys(product for product in products if product))


def _any_names(named: Iterable[Purl], package: Purl | None) -> bool:
    return package is not None and any(one.names(package) for one in named)


def _time(moment: datetime | None) -> datetime:
    """A time for comparison: none is the earliest."""
    return aware(moment or datetime.min)


# OpenVEX.


class _Component(Struct, frozen=True):
    id: str = field(name="@id", default="")
    identifiers: dict[str, str] = {}
    hashes: dict[str, str] = {}


class _OpenVexProduct(_Component, frozen=True):
    subcomponents: tuple[str | _Component, ...] = ()


class _OpenVexVulnerability(Struct, frozen=True):
    id: str = field(name="@id", default="")
    name: str = ""
    aliases: tuple[str, ...] = ()


class _OpenVexStatement(Struct, frozen=True):
    """Version 0.0.1 has texts as vulnerability and products, and subcomponents beside the products."""

    vulnerability: str | _OpenVexVulnerability
    status: Status
    products: tuple[str | _OpenVexProduct, ...] = ()
    subcomponents: tuple[str | _Component, ...] = ()
    justification: str = ""
    impact_statement: str = ""
    timestamp: datetime | None = None
    last_updated: datetime | None = None


class _OpenVex(Struct, frozen=True):
    author: str = ""
    timestamp: datetime | None = None
    last_updated: datetime | None = None
    statements: tuple[_OpenVexStatement, ...] = ()


def _openvex(document: _OpenVex) -> Iterator[Statement]:
    for one in document.statements:
        about = one.vulnerability
        if isinstance(about, str):
            about = _OpenVexVulnerability(name=about)
        yield Statement(
            vulnerability=about.name or about.id,
            aliases=about.aliases,
            products=_present(_openvex_product(product, one.subcomponents) for product in one.products),
            status=one.status,
            justification=_text(one.justification or one.impact_statement),
            author=_text(document.author),
            stated_at=one.last_updated or one.timestamp or document.last_updated or document.timestamp,
        )


def _openvex_product(product: str | _OpenVexProduct, subcomponents: tuple[str | _Component, ...]) -> Product | None:
    """A product. With subcomponents it is an image, and only those packages of it."""
    whole = _component(product)
    if not isinstance(product, str):
        subcomponents = product.subcomponents or subcomponents
    if not subcomponents:
        return whole
    parts = [part.package for part in map(_component, subcomponents) if part and part.package]
    return Product(digest=whole.digest, packages=tuple(parts)) if whole and whole.digest and parts else None


def _component(component: str | _Component) -> Product | None:
    if isinstance(component, str):
        return _product(component)
    return _product(component.id, component.identifiers.get("purl", ""), component.hashes)


# CSAF.


class _FileHash(Struct, frozen=True):
    algorithm: str
    value: str


class _FileHashes(Struct, frozen=True):
    file_hashes: tuple[_FileHash, ...] = ()


class _Helper(Struct, frozen=True):
    """How a product is identified: CSAF 2.0 has one purl, 2.1 several."""

    purl: str = ""
    purls: tuple[str, ...] = ()
    hashes: tuple[_FileHashes, ...] = ()


class _FullName(Struct, frozen=True):
    product_id: str
    product_identification_helper: _Helper = _Helper()


class _Branch(Struct, frozen=True):
    branches: "tuple[_Branch, ...]" = ()
    product: _FullName | None = None


class _Relationship(Struct, frozen=True):
    product_reference: str
    relates_to_product_reference: str
    full_product_name: _FullName


class _Tree(Struct, frozen=True):
    branches: tuple[_Branch, ...] = ()
    full_product_names: tuple[_FullName, ...] = ()
    relationships: tuple[_Relationship, ...] = ()


class _Flag(Struct, frozen=True):
    label: str
    product_ids: tuple[str, ...] = ()


class _OtherId(Struct, frozen=True):
    text: str


class _CsafVulnerability(Struct, frozen=True):
    cve: str = ""
    ids: tuple[_OtherId, ...] = ()
    product_status: dict[str, tuple[str, ...]] = {}
    flags: tuple[_Flag, ...] = ()


class _Publisher(Struct, frozen=True):
    name: str = ""


class _Tracking(Struct, frozen=True):
    current_release_date: datetime | None = None


class _CsafDocument(Struct, frozen=True):
    category: str
    publisher: _Publisher = _Publisher()
    tracking: _Tracking = _Tracking()


class _Csaf(Struct, frozen=True):
    document: _CsafDocument
    product_tree: _Tree = _Tree()
    vulnerabilities: tuple[_CsafVulnerability, ...] = ()


_CSAF_STATUSES = {
    "known_not_affected": Status.NOT_AFFECTED,
    "fixed": Status.FIXED,
    "first_fixed": Status.FIXED,
    "known_affected": Status.AFFECTED,
    "first_affected": Status.AFFECTED,
    "last_affected": Status.AFFECTED,
    "under_investigation": Status.UNDER_INVESTIGATION,
}


def _csaf(csaf: _Csaf) -> Iterator[Statement]:
    if csaf.document.category != "csaf_vex":
        raise BrokenVex(
            f"the CSAF document is of category {csaf.document.category[:80]!r}: only csaf_vex makes VEX statements"
        )
    products = _csaf_products(csaf.product_tree)
    for vulnerability in csaf.vulnerabilities:
        names = list(filter(None, (vulnerability.cve, *(other.text for other in vulnerability.ids))))
        flags = {name: flag.label for flag in vulnerability.flags for name in flag.product_ids}
        for key, listed in vulnerability.product_status.items():
            if names and key in _CSAF_STATUSES:
                for label, some in _labelled(listed, flags).items():
                    yield Statement(
                        vulnerability=names[0],
                        aliases=tuple(names[1:]),
                        products=_present(products.get(name) for name in some),
                        status=_CSAF_STATUSES[key],
                        justification=_text(label),
                        author=_text(csaf.document.publisher.name),
                        stated_at=csaf.document.tracking.current_release_date,
                    )


def _labelled(listed: Iterable[str], flags: Mapping[str, str]) -> dict[str, list[str]]:
    """The ids of products by the justification that is given for them."""
    by_label: dict[str, list[str]] = {}
    for name in listed:
        by_label.setdefault(flags.get(name, ""), []).append(name)
    return by_label


def _csaf_products(tree: _Tree) -> dict[str, Product | None]:
    """The products of a document by id.

    A component of something else is only that: the purl of a package on a platform, which is named by a CPE, would
    cover the package on all others.
    """
    products, open_branches = {one.product_id: _csaf_product(one) for one in tree.full_product_names}, [*tree.branches]
    while open_branches:
        branch = open_branches.pop()
        open_branches.extend(branch.branches)
        if branch.product:
            products[branch.product.product_id] = _csaf_product(branch.product)
    for related in tree.relationships:
        component = products.get(related.product_reference)
        whole = products.get(related.relates_to_product_reference)
        is_image = component is not None and component.digest
        products[related.full_product_name.product_id] = component if is_image else _part(whole, component)
    return products


def _csaf_product(product: _FullName) -> Product | None:
    helper = product.product_identification_helper
    hashes = {one.algorithm: one.value for group in helper.hashes for one in group.file_hashes}
    return _product("", next(iter(filter(None, (helper.purl, *helper.purls))), ""), hashes)


# CycloneDX.


class _Hash(Struct, frozen=True):
    alg: str
    content: str


class _CycloneDxComponent(Struct, frozen=True):
    ref: str = field(name="bom-ref", default="")
    version: str = ""
    purl: str = ""
    hashes: tuple[_Hash, ...] = ()
    components: "tuple[_CycloneDxComponent, ...]" = ()


class _Metadata(Struct, frozen=True):
    component: _CycloneDxComponent | None = None
    timestamp: datetime | None = None


class _Version(Struct, frozen=True):
    version: str = ""
    status: str = ""


class _Affected(Struct, frozen=True):
    ref: str
    versions: tuple[_Version, ...] = ()


class _Analysis(Struct, frozen=True):
    state: str = ""
    justification: str = ""
    detail: str = ""
    first_issued: datetime | None = field(name="firstIssued", default=None)
    last_updated: datetime | None = field(name="lastUpdated", default=None)


class _Reference(Struct, frozen=True):
    id: str = ""


class _CycloneDxVulnerability(Struct, frozen=True):
    id: str = ""
    references: tuple[_Reference, ...] = ()
    analysis: _Analysis = _Analysis()
    affects: tuple[_Affected, ...] = ()
    updated: datetime | None = None


class _CycloneDx(Struct, frozen=True):
    metadata: _Metadata = _Metadata()
    components: tuple[_CycloneDxComponent, ...] = ()
    vulnerabilities: tuple[_CycloneDxVulnerability, ...] = ()


_CYCLONEDX_STATES = {
    "resolved": Status.FIXED,
    "resolved_with_pedigree": Status.FIXED,
    "exploitable": Status.AFFECTED,
    "in_triage": Status.UNDER_INVESTIGATION,
    "false_positive": Status.NOT_AFFECTED,
    "not_affected": Status.NOT_AFFECTED,
}


def _cyclonedx(bom: _CycloneDx) -> Iterator[Statement]:
    products = _cyclonedx_products(bom)
    for one in bom.vulnerabilities:
        analysis, status = one.analysis, _CYCLONEDX_STATES.get(one.analysis.state)
        if status is not None:
            named = (_affected(affected, products, bom.metadata.component, status) for affected in one.affects)
            yield Statement(
                vulnerability=one.id,
                aliases=tuple(reference.id for reference in one.references if reference.id),
                products=_present(product for group in named for product in group),
                status=status,
                justification=_text(": ".join(filter(None, (analysis.justification, analysis.detail)))),
                stated_at=analysis.last_updated or analysis.first_issued or one.updated or bom.metadata.timestamp,
            )


def _cyclonedx_products(bom: _CycloneDx) -> dict[str, Product | None]:
    """The components of a document by their references."""
    products, open_components = dict[str, Product | None](), [*bom.components]
    if bom.metadata.component:
        open_components.append(bom.metadata.component)
    while open_components:
        component = open_components.pop()
        open_components.extend(component.components)
        products[component.ref] = _cyclonedx_product(component)
    return products


def _cyclonedx_product(component: _CycloneDxComponent) -> Product | None:
    return _product(component.version, component.purl, {one.alg: one.content for one in component.hashes})


def _affected(
    affected: _Affected, products: Mapping[str, Product | None], subject: _CycloneDxComponent | None, status: Status
) -> Iterator[Product | None]:
    """The products of an `affects`: a package is meant as a part of what the document is about, if it says that."""
    name = unquote(affected.ref.partition("#")[2]) if affected.ref.startswith("urn:cdx:") else affected.ref
    product = products[name] if name in products else _product(name)
    if product is not None and product.package and affected.versions:
        meant = {Status.FIXED: ("unaffected",), Status.NOT_AFFECTED: ("unaffected", "")}.get(status)
        exact = [one.version for one in affected.versions if one.version and (not meant or one.status in meant)]
        found = [Product(package=msgspec.structs.replace(product.package, version=version)) for version in exact]
    else:
        found = [product] if product else []
    if subject is None or name == subject.ref:
        yield from found
    else:
        image = _cyclonedx_product(subject)
        yield from (_part(image, one) for one in found)


def _text(text: str) -> str:
    return text[:_TEXT_CHARACTERS]
