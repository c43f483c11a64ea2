"""Who may sign: the keys, identities and roots of a rule, as they stand in gates.yaml and as `verify` takes them."""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from shared.domain.policy import Rule

SECRET = "secret:"  # noqa: S105 (a prefix, no secret)
"""In gates.yaml, the prefix of the name of a Key Vault secret, in place of the text itself."""

TRUSTED_ROOT = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"

TrustText = Annotated[
    str, Meta(max_length=131_072, description="the text itself, or secret:<name of a Key Vault secret that holds it>")
]
IdentityText = Annotated[str, Meta(min_length=1, max_length=1024)]
IssuerText = Annotated[
    str, Meta(pattern=r"^https://[^\s*]+$", max_length=1024, description="the URL of an OIDC issuer, in full")
]

_NAMES_LIMIT, _NAME_LIMIT = 3, 80
"""How many signers a sentence names, and how many characters of each."""

_SECRET_NAME = re.compile(r"[A-Za-z0-9-]{1,127}")
_PEM = re.compile(r"-----BEGIN ([A-Z ]{1,40})-----\s([A-Za-z0-9+/=\s]*?)\s-----END \1-----")

_OWNED = re.compile(
    r"[a-z][a-z0-9+.-]*://[^\s/?#@*]+/[^\s/?#*]+/.*"
    r"|[^\s/@]*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+",
    re.DOTALL,
)
"""Patterns that only the identities of one owner fit. The first part of a URL's path is the owner at that host; what an
e-mail address is worth is for its domain to say.
"""

_STRANGERS = (
    "could be strangers, too: write the host and the whole first part of the path of a URL before the first *, with a "
    "slash after it (https://github.com/acme/*), and the whole domain of an e-mail address (*@acme.example)"
)


class Keyless(Rule, frozen=True, kw_only=True):
    """A signer that a certificate of Fulcio names: `identity` (an e-mail address or a URL) as confirmed by `issuer`.

    In an identity `*` stands for any characters but `@`, and not within what says whose it is: the host and the first
    part of the path of a URL, the domain of an e-mail address.
    """

    identity: IdentityText
    issuer: IssuerText


class CosignTrust(Rule, frozen=True, kw_only=True):
    """Signatures of cosign: by a `key` (PEM), or `keyless` by one of these identities, under `trust_root`.

    `trust_root` is Sigstore's trusted_root.json: the authorities and logs that are believed.
    """

    key: TrustText = ""
    keyless: tuple[Keyless, ...] = ()
    trust_root: TrustText = ""


class NotationTrust(Rule, frozen=True, kw_only=True):
    """Signatures of Notation: by certificates under one of the root `certificates` (PEM), issued to one of
    `identities`.

    An identity is `x509.subject: C=…, ST=…, O=…` with further attributes; `*` alone stands for any.
    """

    certificates: TrustText
    identities: Annotated[tuple[IdentityText, ...], Meta(min_length=1)]


class Trust(Rule, frozen=True, kw_only=True):
    """Who may sign. With both, a signature of either is enough."""

    cosign: CosignTrust | None = None
    notation: NotationTrust | None = None


def secret_of(text: str) -> str:
    """The name of the secret that holds a text, "" if it is the text itself."""
    return text.removeprefix(SECRET).strip() if text.startswith(SECRET) else ""


def signers(trust: Trust) -> str:
    """Who may sign, in brief, for a sentence."""
    named = list[str]()
    if (cosign := trust.cosign) is not None:
        name = secret_of(cosign.key)
        named += [f"the key in the secret {name}" if name else "the key of the rule"] if cosign.key else []
        named += [one.identity for one in cosign.keyless]
    if (notation := trust.notation) is not None:
        anybody = "anybody with a certificate under the roots of the rule"
        named += [anybody if one == "*" else one for one in notation.identities]
    shown = [one if len(one) <= _NAME_LIMIT else f"{one[:_NAME_LIMIT]}…" for one in named[:_NAMES_LIMIT]]
    left = len(named) - len(shown)
    return " or ".join([*shown, f"{left} other{'s' if left > 1 else ''}"] if left else shown)


def form_problems(trust: Trust) -> Iterator[tuple[str, str]]:
    """What is wrong with the form of the trust, by key (`cosign.key`). It needs no library: `verify` parses the keys.

    Source of the rules for identities of Notation:
    https://github.com/notaryproject/specifications/blob/main/specs/trust-store-trust-policy.md
    """
    if trust.cosign is None and trust.notation is None:
        yield "cosign", "cosign or notation is needed: without a key or an identity, nothing is trusted"
    if trust.cosign is not None:
        yield from _cosign_problems(trust.cosign)
    if trust.notation is not None:
        yield from _text_problem("notation.certificates", trust.notation.certificates, "CERTIFICATE")
        for index, identity in enumerate(trust.notation.identities):
            if problem := identity_problem(identity, alone=len(trust.notation.identities) == 1):
                yield f"notation.identities.{index}", problem


def _cosign_problems(cosign: CosignTrust) -> Iterator[tuple[str, str]]:
    if not cosign.key and not cosign.keyless:
        yield "cosign", "a key, or keyless identities, are needed"
    if cosign.key:
        yield from _text_problem("cosign.key", cosign.key, "PUBLIC KEY")
        if problem := several_problem(cosign.key):
            yield "cosign.key", problem
    yield from _keyless_problems(cosign)


def _keyless_problems(cosign: CosignTrust) -> Iterator[tuple[str, str]]:
    if cosign.keyless and not cosign.trust_root:
        yield "cosign.keyless", "needs trust_root, Sigstore's trusted_root.json: nothing is fetched to find it"
    if cosign.trust_root and not cosign.keyless:
        yield "cosign.trust_root", "has no effect without keyless identities"
    if cosign.trust_root and not secret_of(cosign.trust_root) and (problem := _root_problem(cosign.trust_root)):
        yield "cosign.trust_root", problem
    for index, one in enumerate(cosign.keyless):
        if "*" in one.identity and not _OWNED.fullmatch(one.identity):
            yield f"cosign.keyless.{index}.identity", f"{one.identity[:80]!r} {_STRANGERS}"


def _text_problem(key: str, text: str, label: str) -> Iterator[tuple[str, str]]:
    name = secret_of(text)
    if text.startswith(SECRET):
        if not _SECRET_NAME.fullmatch(name):
            yield key, f"{name[:80]!r} is not the name of a Key Vault secret (letters, digits and -)"
    elif not pem_blocks(text, label):
        yield key, f"has no PEM block -----BEGIN {label}-----, and is not secret:<name>"


def pem_blocks(text: str, label: str) -> list[bytes]:
    """The DER contents of the PEM blocks of a label; [] if any block has another label, or is not base64."""
    found = _PEM.findall(text)
    try:
        return [base64.b64decode("".join(body.split()), validate=True) for _, body in found] * all(
            name == label for name, _ in found
        )
    except binascii.Error:
        return []


def several_problem(pem: str) -> str:
    """Why a PEM is not one key alone, "" if it may be."""
    blocks = pem.count("-----BEGIN ")
    return f"has {blocks} PEM blocks, of which only the first would count: keep one key" if blocks > 1 else ""


class _Root(msgspec.Struct, rename={"media_type": "mediaType", "authorities": "certificateAuthorities"}):
    media_type: str
    authorities: list[msgspec.Raw] = []
    ctlogs: list[msgspec.Raw] = []
    tlogs: list[msgspec.Raw] = []


def _root_problem(text: str) -> str:
    """Why a text is no trusted root under which a signature could be valid; "" if it has the form of one."""
    try:
        root = msgspec.json.decode(text, type=_Root)
    except (msgspec.MsgspecError, RecursionError):
        root = _Root("")
    if root.media_type != TRUSTED_ROOT:
        return f"is not the JSON of a trusted root (mediaType {TRUSTED_ROOT})"
    needed = {"certificateAuthorities": root.authorities, "ctlogs": root.ctlogs, "tlogs": root.tlogs}
    missing = [name for name, listed in needed.items() if not listed]
    return f"has no {' and no '.join(missing)}: no signature could be verified under it" if missing else ""


def matches(pattern: str, text: str) -> bool:
    """Whether an identity has the form of a pattern, in linear time. `*` stands for any characters but `@`.

    Whoever may push a branch chooses part of the identity: `x@refs/heads/main` is the name of one. So the n-th `@` of
    an identity fits the n-th of the pattern and nothing else. Only a pattern without any that ends with `*`, as
    `https://github.com/acme/*`, leaves open what follows the first. Nor do URLs fit other patterns than those of URLs:
    a branch may end like an e-mail address.

    Sources: https://github.com/sigstore/fulcio/blob/main/docs/oidc.md#github (what is in an identity),
    https://git-scm.com/docs/git-check-ref-format (what is in a name)
    """
    if "*" not in pattern:
        return pattern == text
    if ("://" in pattern) != ("://" in text):
        return False
    parts, found = pattern.split("@"), text.split("@")
    if len(parts) == 1 and pattern.endswith("*"):
        del found[1:]
    return len(parts) == len(found) and all(map(_fits, parts, found))


def _fits(pattern: str, text: str) -> bool:
    """Whether a text has the form of a pattern, in which `*` stands for any characters."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, last = rest
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    place, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


SUBJECT = "x509.subject:"
ATTRIBUTES = ("C", "ST", "S", "L", "STREET", "POSTALCODE", "O", "OU", "CN", "SERIALNUMBER", "DC", "UID")
"""The attributes of a subject that an identity may name; S is ST."""

_NEEDED = ({"C"}, {"ST", "S"}, {"O"})
_ATTRIBUTE = re.compile(r"\s*([A-Za-z0-9.]+)\s*=\s*((?:[^\\,;]|\\.)+?)(?<!\\)\s*(?:,|\Z)")


def identity_problem(text: str, *, alone: bool = True) -> str:
    """Why a text cannot be a trusted identity of Notation, "" if it can."""
    if text == "*":
        return "" if alone else "* allows any identity: it must stand alone"
    if not text.startswith(SUBJECT):
        return f"is neither * nor {SUBJECT} C=…, ST=…, O=…"
    attributes = parse_subject(text)
    if attributes is None:
        return "is not a list of attributes NAME=value, separated by commas; write , ; and \\ within a value with a \\"
    if not attributes.keys() <= set(ATTRIBUTES):
        return f"has an attribute that is none of {', '.join(ATTRIBUTES)}"
    if any(not names & attributes.keys() for names in _NEEDED):
        return "needs the attributes C, ST and O at least"
    return ""


def parse_subject(text: str) -> dict[str, str] | None:
    """The attributes of `x509.subject: C=US, ST=WA, O=acme`; None if it is not such a list, or has one twice."""
    rest, attributes = text.removeprefix(SUBJECT).strip(), dict[str, str]()
    while rest:
        found = _ATTRIBUTE.match(rest)
        if found is None or found[1].upper() in attributes:
            return None
        attributes[found[1].upper()] = re.sub(r"\\(.)", r"\1", found[2])
        rest = rest[found.end() :]
    return attributes or None
