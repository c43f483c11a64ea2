"""The bodies of operations that act. OpenAPI schemas and the options of commands are made from them."""

from typing import Annotated, Any

import msgspec

from shared.domain.stable_tag import HoldUntil

_TAG_OR_DIGEST = "^(sha256:[0-9a-f]{64}|[A-Za-z0-9_][A-Za-z0-9._-]{0,127})$"
_LENGTHS = {"minLength": 1, "maxLength": 400, "pattern": r"\S"}


def _field(description: str, **schema: Any) -> msgspec.Meta:
    """The schema of a field; the domain validates it, with errors of its own."""
    return msgspec.Meta(description=description, extra_json_schema=schema)


Reason = Annotated[str, _field("Why. It is recorded with the operation.", **_LENGTHS)]
TagName = Annotated[str, _field("A tag.", pattern="^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]
DigestName = Annotated[str, _field("A digest.", pattern="^sha256:[0-9a-f]{64}$")]
Target = Annotated[str, _field("A unique tag or a digest whose last verdict is passed.", pattern=_TAG_OR_DIGEST)]
Until = Annotated[HoldUntil, _field("How long the hold is active: until it is lifted, or a newer digest passes.")]
Image = Annotated[str, _field("The tag or digest of an image that was built for the app.", pattern=_TAG_OR_DIGEST)]


class ReasonRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call with only a reason."""

    reason: Reason


class TagRequest(ReasonRequest, frozen=True, kw_only=True):
    """A call about one tag."""

    tag: TagName


class HoldRequest(TagRequest, frozen=True, kw_only=True):
    """A hold of a stable tag."""

    until: Until = HoldUntil.LIFTED


class RollbackRequest(HoldRequest, frozen=True, kw_only=True):
    """A rollback of a stable tag."""

    to: Target


class VetoRequest(ReasonRequest, frozen=True, kw_only=True):
    """A veto, and whether stable tags that point to the digest are rolled back; `to` implies it."""

    digest: DigestName
    rollback: Annotated[bool, _field("Roll back the stable tags that point to the digest, and hold them.")] = False
    to: Target | None = None
    until: Until = HoldUntil.LIFTED


class ExceptionRequest(ReasonRequest, frozen=True, kw_only=True):
    """A request for an exception; its reason is the justification."""

    vulnerability: Annotated[str, _field("The id of a vulnerability, or another id of the same one.")]
    until: Annotated[str, _field("Its end: a day, to its end in UTC, or a time with its zone; at most a year away.")]
    package: Annotated[str, _field("Only in this package: its name, name@version, or a purl.")] = ""


class RebuildRequest(ReasonRequest, frozen=True, kw_only=True):
    """A rebuild of the ledger."""

    hold_all: Annotated[bool, _field("Hold stable tags that match the ledger, too.")] = False


class RolloutRequest(ReasonRequest, frozen=True, kw_only=True):
    """A rollout of a new build of the app, or of an earlier image."""

    image: Image | None = None
