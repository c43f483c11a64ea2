"""`basegate verify`: what was decided about an image, by the record that is attached to it. It asks no gate.

An image is proven if one of the attached decisions was signed with the given key, and is about its digest. Other
attestations, by whomever, prove nothing and are counted. The documents beside a decision are not signed: it has their
hashes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from datetime import datetime
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Annotated, TypeVar

import msgspec
import typer

from basegate_cli import show
from basegate_cli.attached import MOST, bundle, missing_documents
from basegate_cli.registry import Image, Refused, Registry, Unreached, login_for, parse_host, parse_image
from shared.attestation.envelope import Keys, Unproven, load_keys
from shared.attestation.proof import Proof, proof
from shared.attestation.statement import Check, Decision, documents_of
from shared.domain.dsse import BUNDLE_TYPE
from shared.domain.image import Digest

T = TypeVar("T")


def _token_server(text: str) -> str:
    try:
        return parse_host(text) if text else ""
    except Refused as error:
        raise typer.BadParameter(str(error)) from None


def verify(  # noqa: PLR0913  (the options of a command are its parameters)
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="registry/repository:tag, or @sha256:…")],
    *,
    key: Annotated[
        Path,
        typer.Option(exists=True, dir_okay=False, readable=True, help="The public keys that are trusted, in PEM."),
    ],
    key_id: Annotated[str, typer.Option(help="Trust only this one of the keys.")] = "",
    gate: Annotated[str, typer.Option(help="The gate that must have decided it (default: any).")] = "",
    username: Annotated[str, typer.Option(help="A user of the registry (default: docker's login).")] = "",
    token_server: Annotated[
        str,
        typer.Option(
            callback=_token_server,
            metavar="HOST",
            help="A host other than the registry's that may get the password, for a token.",
        ),
    ] = "",
    timeout: Annotated[
        float, typer.Option(min=0.1, max=86_400, help="Seconds for everything that is read from the registry.")
    ] = 120.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is proven as JSON.")] = False,
) -> None:
    """Verify the decision record of an image: who decided what, when, and on what evidence.

    The password of --username is in BASEGATE_REGISTRY_PASSWORD, or the first line of stdin.

    Exit codes: 0 proven (whether or not its documents are there), 1 not proven, 3 the registry cannot be reached.
    """
    named = parse_image(image)
    login = login_for(named.host, username, _password() if username else "")
    registry = Registry(named.host, login, token_server)
    keys, refused = _trusted(key, key_id), list[str]()

    def read() -> tuple[Digest, list[Proof]]:
        digest, _ = registry.manifest(named.repository, named.reference)
        return digest, list(_proofs(registry, named, digest, keys, refused))

    ends_at = time.monotonic() + timeout
    digest, found = _in_time(read, timeout, named.host)
    proofs, others = _of_gate(gate, found), _others(gate, found)
    decided = [(one, one.decision) for one in proofs if one.decision is not None]
    name = f"{named.host}/{named.repository}@{digest}"
    if not decided:
        raise Refused(_unproven(name, others, refused))
    documents = _missing_documents(registry, named, digest, _named(proofs), ends_at)
    if as_json:
        shown = [msgspec.to_builtins(one) | {"documents": _shown(one, documents)} for one in proofs]
        typer.echo(json.dumps(shown, indent=2))
        return
    for one, decision in sorted(decided, key=lambda pair: pair[1].times.passed_at):
        for line in _lines(name, one, decision, documents):
            typer.echo(show.plain(line).plain)
    for line in _notes(named, decided, others, refused):
        typer.echo(show.plain(line).plain, err=True)


def _in_time(read: Callable[[], T], seconds: float, host: str) -> T:
    """What is read from a registry within a time, however slowly it sends.

    It is read in another thread, because nothing else ends the resolution of a name, a handshake, or the head of a
    response that grows by a byte a second. A thread that is late is left behind: it ends with the command.

    Raises:
        Unreached: it was not read in that time. Whatever `read` raises.
    """
    done = Future[T]()

    def settle() -> None:
        try:
            done.set_result(read())
        except Exception as error:  # noqa: BLE001 (it is raised where the command waits)
            done.set_exception(error)

    Thread(target=settle, daemon=True).start()
    if wait([done], seconds).not_done:
        raise Unreached(f"{host} did not send everything within {seconds:g} seconds: allow more with --timeout")
    return done.result()


def _password() -> str:
    return os.environ.get("BASEGATE_REGISTRY_PASSWORD") or sys.stdin.readline().rstrip("\r\n")


def _trusted(file: Path, key_id: str) -> Keys:
    try:
        keys = load_keys(file.read_bytes())
    except Unproven as error:
        raise Refused(f"{file}: {error}") from None
    if key_id and key_id not in keys:
        raise Refused(f"{file} has no key {key_id}, but {', '.join(keys)}")
    return {key_id: keys[key_id]} if key_id else keys


def _proofs(registry: Registry, image: Image, digest: Digest, keys: Keys, refused: list[str]) -> Iterator[Proof]:
    """What the attestations of an image prove; why others prove nothing is added to `refused`."""
    found = registry.referrers(image.repository, digest, BUNDLE_TYPE)
    for descriptor in islice(found, MOST):
        name = str(descriptor.get("digest", ""))[:19]
        try:
            yield proof(bundle(registry, image.repository, digest, descriptor), keys, digest)
        except (Unproven, Refused) as error:
            refused.append(f"attestation {name}: {error}")
    if next(found, None) is not None:
        refused.append(f"more than {MOST} attestations are attached: the rest was not read")


def _named(proofs: list[Proof]) -> dict[str, str]:
    """The names of the documents that signed decisions say to be attached, by their digests."""
    decisions = (one.decision for one in proofs if one.decision)
    return {digest: name for decision in decisions for digest, name in documents_of(decision)}


def _missing_documents(
    registry: Registry, image: Image, digest: Digest, wanted: dict[str, str], ends_at: float
) -> dict[str, str]:
    """Why documents are missing. That they are not read until then (on the monotonic clock) unproves no decision."""
    try:
        left = max(ends_at - time.monotonic(), 0.0)
        return _in_time(lambda: missing_documents(registry, image.repository, digest, wanted), left, image.host)
    except Unreached:
        late = f"not to be found: {image.host} did not send it in time: allow more with --timeout"
        return dict.fromkeys(wanted, late)


def _of_gate(gate: str, proofs: list[Proof]) -> list[Proof]:
    """The decisions of a gate, and the summaries of them, which name the same policy; all, if no gate is named."""
    policies = {one.decision.policy.uri for one in proofs if one.decision and one.decision.gate == gate}
    return [
        one
        for one in proofs
        if not gate
        or (one.decision and one.decision.gate == gate)
        or (one.summary and one.summary.policy.uri in policies)
    ]


def _others(gate: str, proofs: list[Proof]) -> str:
    """A sentence about what is signed and not of the gate that is asked for, "" if all is."""
    count = len(proofs) - len(_of_gate(gate, proofs))
    gates = sorted({one.decision.gate for one in proofs if one.decision and one.decision.gate != gate})
    decided = f" (decided by {', '.join(gates)})" if gates else ""
    return f"{count} of its attestations are signed, but not of the gate {gate}{decided}" if count else ""


def _shown(one: Proof, missing: dict[str, str]) -> list[dict[str, str]]:
    """The documents that a decision names, for programs; `problem` is "" for one that is there."""
    return [{"name": name, "digest": file, "problem": missing[file]} for file, name in _named([one]).items()]


def _unproven(name: str, others: str, refused: list[str]) -> str:
    if not refused:
        return f"{name} is not proven: {others or 'no decision record is attached to it'}"
    reasons = "\n".join(f"  {reason}" for reason in [others] * bool(others) + refused[:10])
    return f"{name} is not proven by any of its attestations:\n{reasons}"


def _lines(name: str, one: Proof, decision: Decision, documents: dict[str, str]) -> Iterator[str]:
    times, by = decision.times, decision.decided_by
    versions = ", ".join(f"{what} {version}" for what, version in sorted(by.version.items()))
    rules = decision.policy.digest.get("sha256", "")
    hashed = f"sha256:{rules}" if rules else "changed since"
    names = ", ".join(one.names)
    yield f"{name} {decision.verdict} gate {decision.gate}"
    yield f"  decided    {_moment(times.passed_at)} by {by.id}" + (f" ({versions})" if versions else "")
    yield f"  promoted   {_moment(times.promoted_at)} as {decision.tag} ({decision.unique_tag}) of {names}"
    yield f"  source     {decision.source}, observed {_moment(times.observed_at)} by {decision.actors.found_by}"
    yield f"  rules      {decision.fingerprint}, {hashed} ({decision.policy.uri})"
    for check in decision.checks:
        yield from _check_lines(check, documents)
    if decision.actors.requested_by:
        yield f"  requested  by {decision.actors.requested_by}"
    yield from (f"  approved   by {approval}" for approval in decision.actors.approved)
    yield f"  signed     with the key {one.key_id}"


def _check_lines(check: Check, documents: dict[str, str]) -> Iterator[str]:
    run = f", run {check.run.id} of {check.run.registry}" if check.run else ""
    yield f"  check      {check.kind} {check.verdict} {_moment(check.finished_at)}{run}: {check.reason}"
    for piece in check.evidence:
        digest, where = f"sha256:{piece.digest.get('sha256', ' (lost)')}", f"{piece.uri} " if piece.uri else ""
        state = f" ({documents[digest] or 'attached'})" if digest in documents else ""
        yield f"    {piece.name:<8} {where}{digest}{state}"
    if check.scanner is not None:
        database = check.scanner.database_version or _moment(check.scanner.database_built_at)
        yield f"    scanner  {check.scanner.name} {check.scanner.version}, database {database}"
        if check.scanner.unscanned:
            yield f"    scanned  {check.scanner.platform or '?'} only, not {', '.join(check.scanner.unscanned)}"
    for used in check.exceptions:
        until = f" until {used.until}" if used.until else ""
        yield f"    accepted {used.vulnerability} {used.package}{until}: {used.justification} ({used.author})"
    if check.more_exceptions:
        yield f"    accepted {check.more_exceptions} more, which the record only counts"
    for document in check.vex:
        signed = f", {_moment(document.signed_at)}" if document.signed_at else ""
        yield f"    vex      sha256:{document.digest.get('sha256', '')} signed by {document.signer}{signed}"


def _notes(image: Image, decided: list[tuple[Proof, Decision]], others: str, refused: list[str]) -> Iterator[str]:
    """What the reader should know although the image is proven."""
    if all(f"{image.host}/{image.repository}" not in one.names for one, _ in decided):
        yield f"note: the records were made for {', '.join(decided[0][0].names)}, not for this repository"
    if ":" not in image.reference and all(decision.tag != image.reference for _, decision in decided):
        yield f"note: this digest was not promoted as {image.reference}, but as {decided[0][1].tag}"
    if others:
        yield f"note: {others}"
    if refused:
        yield f"note: of its attestations {len(refused)} prove nothing: {refused[0]}"


def _moment(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC" if time else "at an unknown time"
