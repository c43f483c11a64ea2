"""The fuzz targets, and what must hold for any input. A target is a Hypothesis test with the name of its corpus."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import azure.functions as func
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from shared import bootstrap
from shared.adapters.oci import OciTagReader
from shared.adapters.oci.transport import Request, Response, Transport
from shared.adapters.redaction import without_secrets
from shared.checks.task import gather_evidence, telling_line
from shared.domain.errors import BasegateError, Malformed
from shared.domain.event import parse_event
from shared.domain.image import parse_digest, parse_repository, parse_tag
from shared.domain.policy import RegistryRule, Source, VersionRule
from shared.domain.versions import parse_range, parse_version
from shared.intake.hints import recognize
from shared.ports import Run, RunStatus
from shared.rules import InvalidGates, parse_gates
from tests.fakes import World, digest, sample_policy
from tests.served import KEY, App, route
from tests.unit.reports.made import MADE, outcome

T = TypeVar("T")
Target = Callable[[], None]
TARGETS: dict[str, Target] = {}

_ROOT = Path(__file__).parents[2]
_EVENTS = tuple(json.loads(file.read_text()) for file in sorted((_ROOT / "tests/events").glob("*.json")))
_GATES = (_ROOT / "gates.sample.yaml").read_text()
GREEN = digest("green")

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def target(**strategies: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Target]:
    """Register a function of generated arguments as a target."""

    def register(test: Callable[..., None]) -> Target:
        made: Target = given(**strategies)(test)
        TARGETS[test.__name__] = made
        return made

    return register


def parts_of(document: Any) -> list[tuple[str, ...]]:
    """The path of every part of a JSON document."""
    if not isinstance(document, dict):
        return []
    return [(key, *path) for key in document for path in ((), *parts_of(document[key]))]


@st.composite
def bent(draw: st.DrawFn, documents: tuple[Any, ...]) -> Any:
    """A valid document with a few parts replaced."""
    document = json.loads(json.dumps(draw(st.sampled_from(documents))))
    for _ in range(draw(st.integers(0, 3))):
        *way, last = draw(st.sampled_from(parts_of(document)))
        place = document
        for key in way:
            place = place[key] if isinstance(place, dict) and isinstance(place.get(key), dict) else None
            if place is None:
                break
        if place is not None:
            place[last] = draw(values)
    return document


@st.composite
def bent_text(draw: st.DrawFn, text: str) -> str:
    """A text with a few pieces cut out, duplicated or replaced."""
    for _ in range(draw(st.integers(0, 4))):
        first = draw(st.integers(0, len(text)))
        end = draw(st.integers(first, min(len(text), first + 200)))
        piece = draw(st.sampled_from((text[first:end] * 2, "")) | st.text(max_size=40))
        text = text[:first] + piece + text[end:]
    return text


@target(payload=bent(_EVENTS) | values)
def event(payload: object) -> None:
    """An event is parsed, or refused with the field; the parsed parts are valid."""
    policy = sample_policy()
    try:
        read = parse_event(payload)
    except Malformed:
        pass
    else:
        assert parse_digest(read.digest) == read.digest
        assert parse_repository(read.repository) == read.repository
        assert read.tag is None or parse_tag(read.tag) == read.tag
    for found in recognize(payload, policy):
        assert found.reason.isprintable()


names = st.text(max_size=300) | st.from_regex(r"[a-zA-Z0-9._/:@-]{0,300}", fullmatch=True)


@target(text=names)
def reference(text: str) -> None:
    """A name is accepted unchanged or refused, and no accepted one can escape its place in a path or a log line."""
    for parse in (parse_digest, parse_tag, parse_repository):
        try:
            name: str = parse(text)
        except Malformed:
            continue
        assert name == text
        assert name.isascii()
        assert name.isprintable()
        assert ".." not in name.split("/")
        assert not set(name) & set(" ?#%\\@")


versions = st.from_regex(r"[v0-9.x*^~<>=|, -]{0,40}([a-z]+[0-9.]{0,4})?", fullmatch=True) | st.text(max_size=60)
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,40}", fullmatch=True) | st.from_regex(
    r"v?[0-9.]{1,20}(-rc\.[0-9])?"
)


@target(range_text=versions, pattern=st.from_regex(r"[A-Za-z0-9_*?][A-Za-z0-9._*?-]{0,20}", fullmatch=True), tag=tags)
def version(range_text: str, pattern: str, tag: str) -> None:
    """A range is parsed or refused, versions have an order, and whether a tag is tracked is deterministic."""
    read = parse_version(tag)
    assert read == parse_version(tag)
    try:
        parse_range(range_text)
    except Malformed:
        return
    source = Source(registry="r", repository="node", tags=(pattern,), versions=VersionRule(range=range_text, newest=3))
    rule = source.tracked
    assert set(rule.select([tag, "latest", "1.2.3"])) <= {tag, "latest", "1.2.3"}
    assert rule.takes(tag) == rule.takes(tag)


@target(text=bent_text(_GATES) | st.text(max_size=400))
def rules(text: str) -> None:
    """gates.yaml is accepted, or every error is reported with an existing line."""
    try:
        policy = parse_gates(text)
    except InvalidGates as error:
        assert error.errors
        lines = text.count("\n") + 2
        assert all(1 <= int(one.removeprefix("line ").partition(",")[0]) <= lines for one in error.errors)
    else:
        assert all(gate.fingerprint and gate.name == name for name, gate in policy.gates.items())


@target(text=st.sampled_from([json.dumps(report, indent=1) for report in MADE.values()]).flatmap(bent_text))
def scan_report(text: str) -> None:
    """A scanner's report is read, or is broken; what is read can be kept, and shown on a terminal."""
    report = outcome(text.encode("utf-8", "surrogatepass"))
    if report is not None:
        assert b"\\u001b" not in msgspec.json.encode(report)
        assert all(finding.ids and finding.package.name for finding in report.findings)


class _Log:
    """A task runner with a single log."""

    def __init__(self, text: str) -> None:
        self._text = text

    def log(self, registry: RegistryRule, run_id: str, limit_bytes: int) -> str:
        return self._text


class _Archive:
    def store(self, name: str, text: str) -> str:
        assert "\x1b[" not in text
        return name


escapes = st.sampled_from(["\x1b[31m", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "\x1b(B", "\x1b", "\r", "\x9b1m"])
logs = st.lists(escapes | st.text() | st.sampled_from(["error: it broke\n", "denied\n"]), max_size=20).map("".join)


@target(text=logs)
def log(text: str) -> None:
    """A log is stored without terminal control sequences; its tail is short, and one of its lines is reported."""
    cleaned = without_secrets(text)
    tasks: Any = _Log(cleaned)
    archive: Any = _Archive()
    run = Run(run_id="ca1", status=RunStatus.FAILED, detail="Failed")
    evidence = gather_evidence(tasks, archive, sample_policy().registries["base"], run, "a name")
    assert len(evidence.log_tail) <= 15
    assert all(len(line) <= 300 and "\x1b[" not in line for line in evidence.log_tail)
    assert telling_line(evidence) or not cleaned.strip()
    assert without_secrets(cleaned) == cleaned
    assert cleaned.count("\n") == text.count("\n")


principal = st.builds(
    lambda value: base64.b64encode(json.dumps(value).encode()).decode(),
    st.fixed_dictionaries({}, optional={"userDetails": values, "claims": values, "identityProvider": values}),
)
headers = st.fixed_dictionaries(
    {},
    optional={
        "if-match": st.text(max_size=40),
        "idempotency-key": st.text(max_size=200),
        "content-type": st.sampled_from(["application/json", "text/plain", ""]),
        "x-ms-client-principal": st.text(max_size=40) | principal,
    },
)
asked = st.fixed_dictionaries(
    {},
    optional={
        "reason": st.just("it is three in the morning") | values,
        "tag": st.just("15-alpine") | values,
        "digest": st.just(GREEN) | values,
        "to": st.just(GREEN) | values,
        "until": st.sampled_from(["newer", "lifted"]) | values,
        "rollback": values,
        "image": values,
    },
)
params = st.dictionaries(
    st.sampled_from(["state", "since", "until", "token", "limit", "all", "dry_run", "x"]),
    st.sampled_from(["1", "true", "", "9999-12-31", "0001-01-01T00:00:00Z", "2026-03-01"]) | st.text(max_size=60),
)
_CANDIDATE, _ROLLOUT = f"node.{GREEN[7:]}-001", f"hello-world.base-{GREEN[7:19]}-000001"
real = st.sampled_from(["node", "hello-world", GREEN, _CANDIDATE, _ROLLOUT, "hello-world.app", "style.css"])


@target(
    place=st.integers(0, 10_000),
    names=st.lists(real | st.text(max_size=80), min_size=2, max_size=2),
    params=params,
    headers=headers,
    body=st.binary(max_size=400)
    | asked.map(lambda body: json.dumps(body).encode())
    | values.map(json.dumps).map(str.encode),
)
def http(place: int, names: list[str], params: dict[str, str], headers: dict[str, str], body: bytes) -> None:
    """No request to the HTTP interface and the board results in a server error, and the work it causes succeeds."""
    methods, handler, values = route(place, names)
    world = World()
    world.push("15-alpine", GREEN)
    world.settle()
    app = App(world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "basegate", lambda: app)
        for method in sorted(methods):
            request = func.HttpRequest(
                method=method,
                url=f"https://basegate.azurewebsites.net/api/x?code={KEY}",
                params=params,
                headers=headers,
                route_params=values,
                body=body,
            )
            answer = handler(request)
            assert answer.status_code < 500 or (answer.status_code == 503 and not values), answer.get_body()
            assert KEY.encode() not in answer.get_body()
            world.settle()


class _Registry:
    """A transport that returns generated responses in turn, and then 404.

    A redirect may lead anywhere, and a 401 may name any token service if there are no credentials (the transport
    keeps both from private addresses), but no secret is sent along.
    """

    def __init__(self, responses: list[Response]) -> None:
        self._responses = responses
        self._may_ask = {"registry.example.com", "auth.example.com"}
        self._led_on = False

    def send(self, request: Request) -> Response:
        host = request.target.host
        assert host in self._may_ask or self._led_on
        assert host == "registry.example.com" or "Authorization" not in request.headers
        self._may_ask.add(host)  # a Link of a page may lead there
        answer = self._responses.pop(0) if self._responses else Response(404, {})
        self._led_on = 300 <= answer.status < 400 or answer.status == 401
        return answer


class _NoSecrets:
    def credentials(self, registry: RegistryRule) -> tuple[str, str]:
        raise AssertionError("this registry has no credentials")


_BEARER = 'Bearer realm="https://auth.example.com/token",service="registry.example.com",scope="repository:node:pull"'
_LINK = '</v2/node/tags/list?n=1000&last=b>; rel="next"'
statuses = st.sampled_from([200, 200, 200, 401, 307, 404, 405, 403, 429, 500, 304, 101]) | st.integers(100, 599)
answered = st.fixed_dictionaries(
    {},
    optional={
        "docker-content-digest": st.just(GREEN) | st.text(max_size=90),
        "www-authenticate": st.just(_BEARER) | bent_text(_BEARER),
        "link": st.just(_LINK) | bent_text(_LINK),
        "location": st.sampled_from(["/v2/node/tags/list", "https://registry.example.com/v2/", "//x/y"]) | st.text(),
        "retry-after": st.sampled_from(["1", "9" * 30, "Wed, 21 Oct 2026 07:28:00 GMT"]) | st.text(max_size=20),
        "ratelimit-limit": st.just("100;w=21600") | st.text(max_size=30),
        "ratelimit-remaining": st.just("76;w=21600") | st.text(max_size=30),
    },
)
bodies = st.binary(max_size=300) | st.fixed_dictionaries(
    {},
    optional={
        "tags": st.lists(st.text(max_size=20) | st.sampled_from(["15", "15-alpine"]), max_size=4) | values,
        "token": st.text(max_size=40) | values,
        "expires_in": values,
        "schemaVersion": values,
    },
).map(lambda body: json.dumps(body).encode())
responses = st.lists(st.builds(Response, statuses, answered, bodies), max_size=6)


@target(responses=responses)
def registry(responses: list[Response]) -> None:
    """For any response of a registry, its tags are read or the error is reported; its token is sent nowhere else."""
    secrets: Any = _NoSecrets()
    rule = RegistryRule(name="example", server="registry.example.com")
    for read in (lambda reader: reader.digest_of(rule, "node", "15"), lambda reader: list(reader.tags(rule, "node"))):
        made_up = _Registry(list(responses))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Transport, "send", lambda self, request, made_up=made_up: made_up.send(request))
            reader = OciTagReader(secrets, lambda: pytest.fail("no identity is requested"))
            try:
                read(reader)
            except BasegateError as error:
                assert str(error)
