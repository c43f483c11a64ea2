"""`basegate verify` against a registry that may be hostile: it asks no gate, and trusts what the key signed alone."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from basegate_cli.commands import main
from basegate_cli.registry import Login, Refused, Registry, Unreached, login_for, parse_host, parse_image
from basegate_cli.verify import _check_lines
from shared.adapters.artifacts_acr import manifest
from shared.attestation import envelope
from shared.attestation.envelope import payload_of
from shared.attestation.statement import Check, Scanner
from shared.domain.dsse import pae
from shared.ports import Artifact
from tests.fakes import World
from tests.fakes.registries import FakeSigner
from tests.unit.test_scan_check import push, scan_world

INDEX = "application/vnd.oci.image.index.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
IMAGE = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Double:
    """A registry with one image, and what is attached to it.

    `page` is the size of a page of that list, `by_tag` says that there is no referrers API, for which the answer is
    `no_api`; `password` gets a `token`, `realm` is where tokens are; `moved` has the blobs that are elsewhere, at
    `location` or at a right place. `seen` has the requests and their authorization.
    """

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {digest_of(IMAGE): IMAGE}
        self.listed: list[dict[str, Any]] = []
        self.by_tag, self.password, self.realm, self.moved = False, "", "", set[str]()
        self.page, self.no_api, self.location, self.token = 1000, 404, "", "a-token"
        self.seen: list[tuple[str, str]] = []
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                double.answer(self)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"localhost:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def attach(self, bundle: bytes, *, subject: bytes = IMAGE, media_type: str = BUNDLE) -> str:
        """Attach a bundle to the image; `subject` is what its manifest names."""
        return self.put(Artifact(media_type=media_type, content=bundle), subject)

    def put(self, artifact: Artifact, subject: bytes = IMAGE) -> str:
        """Attach an artifact."""
        about = {"mediaType": INDEX, "digest": digest_of(subject), "size": len(subject)}
        body, kind = manifest(about, artifact), artifact.artifact_type or artifact.media_type
        self.content |= {digest_of(body): body, digest_of(artifact.content): artifact.content}
        self.listed.append({"mediaType": "m", "digest": digest_of(body), "size": len(body), "artifactType": kind})
        return digest_of(artifact.content)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path, _, query = request.path.partition("?")
        authorization = request.headers.get("Authorization", "")
        self.seen.append((path, authorization))
        if path == "/token":
            body = json.dumps({"access_token": self.token}).encode()
            return self._send(request, 200 if authorization == self._basic else 401, body)
        if self.password and path.startswith("/v2/") and authorization != "Bearer a-token":
            challenge = (
                f'Bearer realm="{self.realm or f"http://{self.host}/token"}",service="s",scope="repository:node:pull"'
            )
            return self._send(request, 401, b"{}", {"WWW-Authenticate": challenge})
        name = path.rpartition("/")[2]
        if "/blobs/" in path and name in self.moved:
            return self._send(request, 307, b"", {"Location": self.location or f"http://{self.host}/elsewhere/{name}"})
        if "/referrers/" in path or name == digest_of(IMAGE).replace(":", "-"):
            return self._list(request, query, is_api="/referrers/" in path)
        found = IMAGE if name == "20" else self.content.get(name)
        return self._send(request, 404 if found is None else 200, found or b"{}")

    @property
    def _basic(self) -> str:
        return "Basic " + base64.b64encode(f"ann:{self.password}".encode()).decode()

    def _list(self, request: BaseHTTPRequestHandler, query: str, *, is_api: bool) -> None:
        if is_api is self.by_tag:
            return self._send(request, self.no_api if is_api else 404, b"{}")
        start = int(query.partition("from=")[2] or 0)
        shown, rest = self.listed[start : start + self.page], self.listed[start + self.page :]
        more = {"Link": f"<{request.path.partition('?')[0]}?from={start + self.page}>; rel=next"} if rest else {}
        return self._send(request, 200, json.dumps({"manifests": shown}).encode(), more)

    def _send(
        self, request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)


@pytest.fixture
def double() -> Iterator[Double]:
    double = Double()
    yield double
    double.close()


@pytest.fixture(scope="module")
def signer() -> FakeSigner:
    return FakeSigner()


@pytest.fixture(scope="module")
def made(signer: FakeSigner) -> tuple[list[bytes], bytes]:
    """The bundles of a promotion of the image, and the public key."""
    world = World()
    world.signer = signer
    world.restart()
    world.push("20", digest_of(IMAGE))  # type: ignore[arg-type]
    world.push("15-alpine", digest_of(IMAGE))  # type: ignore[arg-type]
    world.settle()
    (artifacts,) = world.registry.attached.values()
    return [artifact.content for artifact in artifacts], signer.public_key


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    double: Double,
    made: tuple[list[bytes], bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Verifies the image; the exit code, what was printed, and what was complained."""
    key = tmp_path / "key.pem"
    key.write_bytes(made[1])
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def run(*options: str, reference: str = ":20", host: str = "") -> tuple[int, str, str]:
        code = main(["verify", f"{host or double.host}/node{reference}", "--key", str(key), *options])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_who_decided_what_and_when_is_printed_without_a_gate(run: Run, double: Double, made: Any) -> None:
    for bundle in made[0]:
        double.attach(bundle)
    code, out, err = run()
    assert code == 0, err
    for part in (
        f"{double.host}/node@{digest_of(IMAGE)} passed gate node",
        "by urn:basegate (basegate 0.1.0)",
        "as 15-alpine (15-alpine-",
        "of contosobaseartifacts.azurecr.io/node",
        "source     publicregistry.azurecr.io/node@sha256:",
        "check      task passed 2026-03-01",
        "log      ",
        "signed     with the key ",
    ):
        assert part in out
    assert "not promoted as 20, but as 15-alpine" in err
    assert "made for contosobaseartifacts.azurecr.io/node, not for this repository" in err
    code, out, _ = run("--json", reference=f"@{digest_of(IMAGE)}")
    assert [bool(one["decision"]) for one in json.loads(out)].count(True) == 1


def of_gate(gate: str, content: bytes, signer: FakeSigner) -> bytes:
    """A bundle of the gate `node` as another gate would have signed it with the same key."""
    named = payload_of(content).replace(b'"gate":"node"', b'"gate":"%b"' % gate.encode())
    payload = named.replace(b"urn:basegate:gate:node", b"urn:basegate:gate:" + gate.encode())
    signature = signer.sign(hashlib.sha256(pae(payload)).digest())
    return envelope.bundle(payload, signature.value, envelope.key_id(signature.public_key))


def test_a_decision_of_another_gate_is_not_one_of_the_gate_that_is_asked_for(
    run: Run, double: Double, made: Any
) -> None:
    for bundle in made[0]:
        double.attach(bundle)
    code, out, err = run("--gate", "node", reference=f"@{digest_of(IMAGE)}")
    assert (code, "passed gate node" in out, "not of the gate" in err) == (0, True, False)
    code, out, err = run("--gate", "nod")
    assert (code, out) == (1, "")
    assert "is not proven: 2 of its attestations are signed, but not of the gate nod (decided by node)" in err
    assert run("--gate", "nod", "--json")[:2] == (1, "")
    double.attach(b"{}")
    reasons = run("--gate", "nod")[2].splitlines()[1:]
    assert [reason.split(" ")[2] for reason in reasons] == ["2", "attestation"]


def test_a_gate_that_is_asked_for_is_shown_without_what_other_gates_say(
    run: Run, double: Double, made: Any, signer: FakeSigner
) -> None:
    for bundle in made[0]:
        for content in (bundle, of_gate("nodes", bundle, signer)):
            double.attach(content)
    double.attach(b"{}")
    code, out, err = run("--gate", "nodes")
    assert (code, out.count(" passed gate ")) == (0, 1)
    assert "passed gate nodes" in out
    assert "note: 2 of its attestations are signed, but not of the gate nodes (decided by node)" in err
    assert "note: of its attestations 1 prove nothing: " in err
    shown = json.loads(run("--gate", "nodes", "--json")[1])
    assert {(one["decision"] or one["summary"])["policy"]["uri"] for one in shown} == {"urn:basegate:gate:nodes"}
    assert len(shown) == 2
    assert len(json.loads(run("--json")[1])) == 4


def test_the_platforms_of_an_image_that_were_not_scanned_are_printed() -> None:
    scanner = Scanner(name="Trivy", platform="linux/amd64", unscanned=("linux/arm64", "linux/s390x"))
    text = "    scanned  linux/amd64 only, not linux/arm64, linux/s390x"
    assert text in _check_lines(Check(kind="scan", verdict="passed", scanner=scanner), {})
    assert not any(
        "only" in line for line in _check_lines(Check(kind="scan", verdict="passed", scanner=Scanner(name="x")), {})
    )


@pytest.fixture(scope="module")
def scanned(signer: FakeSigner) -> list[Artifact]:
    """What is attached to the image by a gate that scans: two bundles, and the report as SARIF and CycloneDX."""
    world = scan_world()
    world.signer = signer
    world.restart()
    push(world, digest_of(IMAGE))  # type: ignore[arg-type]
    (artifacts,) = world.registry.attached.values()
    return artifacts


def test_the_documents_that_the_record_names_are_said_to_be_there(
    run: Run, double: Double, scanned: list[Artifact]
) -> None:
    digests = [double.put(one) for one in scanned]
    code, out, err = run()
    assert (code, "prove nothing" in err) == (0, False)
    assert f"    sarif    {digests[2]} (attached)\n    cyclonedx {digests[3]} (attached)\n" in out
    shown = json.loads(run("--json")[1])
    assert [one["documents"] for one in shown if one["decision"]] == [
        [
            {"name": "sarif", "digest": digests[2], "problem": ""},
            {"name": "cyclonedx", "digest": digests[3], "problem": ""},
        ]
    ]


def test_a_document_that_is_not_there_or_has_other_bytes_is_told_and_the_decision_is_proven(
    run: Run, double: Double, scanned: list[Artifact]
) -> None:
    for bundle in scanned[:2]:
        double.put(bundle)
    double.put(scanned[2], subject=b"another image")
    double.put(replace(scanned[2], content=scanned[2].content + b" "))
    code, out, _ = run()
    assert (code, out.count("(not attached)")) == (0, 2)
    changed = double.put(scanned[3])
    double.content[changed] += b" "
    code, out, _ = run()
    assert (code, out.count("(not attached)")) == (0, 1)
    assert f"{changed} (attached, but the registry sent other bytes than those of {changed})" in out


@pytest.mark.parametrize("method", ["blob", "referrers"])
def test_a_document_that_cannot_be_reached_is_told_and_the_decision_is_proven(
    run: Run, double: Double, scanned: list[Artifact], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    digests, read = [double.put(one) for one in scanned], getattr(Registry, method)

    def away(registry: Registry, repository: str, digest: str, *kind: str) -> Any:
        if digests[2] == digest or kind == ("application/sarif+json",):
            raise Unreached("the registry cannot be reached")
        return read(registry, repository, digest, *kind)

    monkeypatch.setattr(Registry, method, away)
    code, out, _ = run()
    problem = {"blob": "attached, but", "referrers": "not to be found:"}[method]
    assert (code, f"{digests[2]} ({problem} the registry cannot be reached)" in out) == (0, True)
    assert f"{digests[3]} (attached)" in out


def test_documents_that_come_too_late_are_told_and_the_decision_is_proven(
    run: Run, double: Double, scanned: list[Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    digests, read, ended = [double.put(one) for one in scanned], Registry.blob, threading.Event()

    def slow(registry: Registry, repository: str, digest: str) -> bytes:
        if digest in digests[2:]:
            ended.wait(5)
        return read(registry, repository, digest)

    monkeypatch.setattr(Registry, "blob", slow)
    moments = iter((0.0, 120.0))  # all the time has passed when the records are read
    monkeypatch.setattr("basegate_cli.verify.time", SimpleNamespace(monotonic=lambda: next(moments)))
    code, out, _ = run("--timeout", "120")
    ended.set()
    late = f"(not to be found: {double.host} did not send it in time: allow more with --timeout)"
    assert (code, out.count(late)) == (0, 2)


def test_the_documents_of_other_gates_are_not_read(
    run: Run, double: Double, scanned: list[Artifact], signer: FakeSigner, made: Any
) -> None:
    for one in scanned:
        double.put(one)
    for bundle in made[0]:
        double.attach(of_gate("nodes", bundle, signer))
    assert run("--gate", "nodes")[0] == 0
    assert not [path for path, _ in double.seen if path.endswith(digest_of(scanned[2].content))]
    assert run("--gate", "node")[0] == 0
    assert [path for path, _ in double.seen if path.endswith(digest_of(scanned[2].content))]


def test_a_flood_of_foreign_documents_is_not_taken_for_the_absence_of_the_own_one(
    run: Run, double: Double, scanned: list[Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("basegate_cli.attached.MOST", 3)
    for number in range(4):
        double.put(replace(scanned[2], content=b'{"number": %d}' % number))
    for one in scanned:
        double.put(one)
    code, out, _ = run()
    assert code == 0
    assert out.count("(not among the first 3 artifacts of its type)") == 1
    assert out.count("(attached)") == 1


def test_one_changed_byte_is_refused_with_a_sentence(run: Run, double: Double, made: Any) -> None:
    for bundle in made[0]:
        where = bundle.index(b'"payload":"') + 200
        double.attach(bundle[:where] + (b"A" if bundle[where : where + 1] != b"A" else b"B") + bundle[where + 1 :])
    code, out, err = run()
    assert (code, out) == (1, "")
    assert "is not proven by any of its attestations" in err
    assert err.count("made by none of the given keys, or its content was changed afterwards") == 2


def test_bytes_that_are_not_those_of_their_digest_are_refused(run: Run, double: Double, made: Any) -> None:
    for bundle in made[0]:
        double.content[double.attach(bundle)] = bundle + b" "
    code, _, err = run()
    assert code == 1
    assert "the registry sent other bytes than those of sha256:" in err


def test_an_image_without_a_record_is_not_proven(run: Run) -> None:
    code, out, err = run()
    assert (code, out) == (1, "")
    assert "no decision record is attached to it" in err


def test_a_record_of_another_image_proves_nothing_wherever_it_is_attached(
    run: Run, double: Double, tmp_path: Path
) -> None:
    world, signer = World(), FakeSigner()
    world.signer = signer
    world.restart()
    world.push("15-alpine", digest_of(b"another"))  # type: ignore[arg-type]
    world.settle()
    (artifacts,) = world.registry.attached.values()
    for artifact in artifacts:
        double.attach(artifact.content)
        double.attach(artifact.content, subject=b"another")
    (tmp_path / "key.pem").write_bytes(signer.public_key)
    code, _, err = run()
    assert code == 1
    assert "it is signed, but about another image" in err
    assert "its manifest is about another image" in err


def test_a_flood_of_foreign_attestations_does_not_hide_the_record_beside_it(
    run: Run, double: Double, made: Any
) -> None:
    for number in range(150):
        double.attach(b'{"number": %d}' % number)
    double.attach(b"x" * 100, media_type="application/spdx+json")
    for bundle in made[0]:
        double.attach(bundle)
    double.page = 40
    code, _, err = run()
    assert code == 0
    assert "of its attestations 150 prove nothing" in err


def test_a_flood_that_hides_the_record_is_said(run: Run, double: Double, made: Any) -> None:
    for number in range(201):
        double.listed.append({"digest": f"sha256:{number:064}", "artifactType": BUNDLE})
    for bundle in made[0]:
        double.attach(bundle)
    code, _, err = run()
    assert code == 1
    assert "sha256:000000000000" in err


@pytest.mark.parametrize("status", [400, 404, 405, 410, 415])
def test_a_registry_without_the_referrers_api_is_asked_for_the_tag(
    run: Run, double: Double, made: Any, status: int
) -> None:
    double.by_tag, double.no_api = True, status
    for bundle in made[0]:
        double.attach(bundle)
    assert run()[0] == 0


@pytest.mark.parametrize(("status", "why"), [(403, "refuses access"), (429, "answers 429"), (500, "answers 500")])
def test_a_registry_that_does_not_let_its_list_be_read_is_told(run: Run, double: Double, status: int, why: str) -> None:
    double.by_tag, double.no_api = True, status
    code, out, err = run()
    assert (code, out) == (1, "")
    assert why in err


STRANGE = ["sha256:a b", "sha256:\u00e4", f"sha256:{'0' * 63}/", "\n", 1, None]


@pytest.mark.parametrize("digest", STRANGE)
def test_a_layer_or_an_artifact_with_a_digest_that_is_none_proves_nothing(
    run: Run, double: Double, made: Any, digest: Any
) -> None:
    layer = {"mediaType": BUNDLE, "digest": digest, "size": 1}
    body = json.dumps({"subject": {"digest": digest_of(IMAGE)}, "layers": [layer]}).encode()
    double.content[digest_of(body)] = body
    double.listed += [{"digest": digest_of(body), "artifactType": BUNDLE}, {"digest": digest, "artifactType": BUNDLE}]
    code, out, err = run()
    assert (code, out) == (1, "")
    assert err.count("is not a digest (sha256: and 64 hexadecimal digits)") == 2
    for bundle in made[0]:
        double.attach(bundle)
    assert run()[0] == 0


@pytest.mark.parametrize(
    "url", ["https://[", "https://", "https://r.example:99999/", "https://r.example:x/", "ftp://r/"]
)
def test_a_realm_or_a_location_that_is_no_url_is_refused(run: Run, double: Double, made: Any, url: str) -> None:
    for bundle in made[0]:
        double.moved.add(double.attach(bundle))
    double.location = url
    code, out, err = run()
    assert (code, out) == (1, "")
    assert f"sends on to {url!r}, which is no https URL" in err
    double.password, double.realm = "hunter2", url
    assert run()[:2] == (1, "")


@pytest.mark.parametrize("path", ["\u00e4", "a b", "x" * 9000])
def test_a_url_that_cannot_be_requested_is_refused(run: Run, double: Double, made: Any, path: str) -> None:
    for bundle in made[0]:
        double.moved.add(double.attach(bundle))
    double.location = f"http://{double.host}/{path}"
    code, out, err = run()
    assert (code, out) == (1, "")
    assert "names a URL that cannot be requested" in err


def test_a_host_that_is_none_is_refused(run: Run, double: Double, made: Any) -> None:
    double.password, double.realm = "hunter2", "https://a..b/token"
    code, out, err = run()
    assert (code, out) == (1, "")
    assert "'a..b' is not the name of a host" in err


@pytest.mark.parametrize("token", ["a b", "a\nX-Injected: 1", "\u00e4", "", 1, None])
def test_a_token_that_is_none_is_refused(run: Run, double: Double, monkeypatch: pytest.MonkeyPatch, token: Any) -> None:
    monkeypatch.setenv("BASEGATE_REGISTRY_PASSWORD", "hunter2")
    double.password, double.token = "hunter2", token
    code, out, err = run("--username", "ann")
    assert (code, out) == (1, "")
    assert "refuses access to a token" in err


def test_an_error_that_breaks_off_is_no_traceback(run: Run, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(request: BaseHTTPRequestHandler) -> None:
        request.send_response(500)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()

    monkeypatch.setattr(double, "answer", broken)
    code, _, err = run()
    assert (code, "cannot be reached" in err) == (3, True)


def test_the_password_gets_a_token_and_goes_nowhere_else(
    run: Run, double: Double, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    double.password = "hunter2"
    for bundle in made[0]:
        double.moved.add(double.attach(bundle))
    code, _, err = run()
    assert code == 1
    assert "refuses access" in err
    monkeypatch.setattr(sys, "stdin", io.StringIO("hunter2\n"))
    assert run("--username", "ann")[0] == 0
    monkeypatch.setenv("BASEGATE_REGISTRY_PASSWORD", "hunter2")
    double.seen.clear()
    assert run("--username", "ann")[0] == 0
    assert {path for path, header in double.seen if header.startswith("Basic")} == {"/token"}
    elsewhere = [header for path, header in double.seen if path.startswith("/elsewhere/")]
    assert elsewhere == ["", ""]
    double.realm = "https://tokens.example.com/"
    asks = "asks to send the password to https://tokens.example.com/, which may be somebody else's"
    err = run("--username", "ann")[2]
    assert asks in err
    assert "if you trust that host, repeat this with --token-server tokens.example.com" in err
    double.realm = f"http://127.0.0.1:{double.host.partition(':')[2]}/token"
    assert "which may be somebody else's" in run("--username", "ann")[2]
    assert run("--username", "ann", "--token-server", "127.0.0.1")[0] == 0
    double.realm = "http://tokens.example.com/"
    assert "which is no https URL" in run("--username", "ann")[2]


@pytest.mark.parametrize(
    ("host", "realm", "gets_it"),
    [
        ("contoso.azurecr.io", "https://contoso.azurecr.io/oauth2/token", True),
        ("docker.io", "https://auth.docker.io/token", True),
        ("registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("registry.example.com:5000", "https://registry.example.com:8443/token", True),
        ("contoso.azurecr.io", "https://fabrikam.azurecr.io/oauth2/token", False),
        ("contoso.azurecr.io", "https://contoso.azurecr.io.evil.example/", False),
        ("contoso.azurecr.io", "https://evilcontoso.azurecr.io/", False),
        ("contoso.azurecr.io", "https://contoso.azurecr.io@evil.example/", False),
        ("registry.acme.co.uk", "https://evil.co.uk/", False),
        ("registry.example.com", "https://com/", False),
        ("10.0.0.1", "https://0.0.1/", False),
    ],
)
def test_a_password_is_for_the_registry_and_its_own_domain(host: str, realm: str, *, gets_it: bool) -> None:
    assert Registry(host, Login("ann", "hunter2"))._is_own(realm) is gets_it


@pytest.mark.parametrize(
    "text", ["https://tokens.example.com", "tokens.example.com/token", "t.example:443", "ann@t.example", "a b", "a..b"]
)
def test_a_token_server_that_is_no_bare_host_is_refused(run: Run, double: Double, text: str) -> None:
    code, out, err = run("--username", "ann", "--token-server", text)
    assert (code, out, double.seen) == (2, "", [])
    assert "is not the name of a host alone" in " ".join(err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("named", "realm"),
    [("Tokens.example.com", "https://tokens.example.com:8443/t"), ("[2001:DB8::1]", "https://[2001:db8::1]/t")],
)
def test_a_token_server_is_a_host_at_any_port(named: str, realm: str) -> None:
    assert Registry("contoso.azurecr.io", Login("ann", "hunter2"), parse_host(named))._is_own(realm)


def test_the_login_of_docker_is_used(run: Run, double: Double, made: Any, tmp_path: Path) -> None:
    double.password = "hunter2"
    for bundle in made[0]:
        double.attach(bundle)
    stored = {"auths": {double.host: {"auth": base64.b64encode(b"ann:hunter2").decode()}}}
    (tmp_path / "config.json").write_text(json.dumps(stored))
    assert run()[0] == 0
    (tmp_path / "config.json").write_text('{"auths": {"r.azurecr.io": {"auth": "", "identitytoken": "a-token"}}}')
    assert login_for("r.azurecr.io", "", "") == Login("00000000-0000-0000-0000-000000000000", "a-token")
    (tmp_path / "config.json").write_text("[]")
    assert login_for("r.azurecr.io", "", "") == Login()


def test_a_registry_that_is_away_and_one_without_the_image_are_told_apart(run: Run) -> None:
    code, _, err = run(host="localhost:9")
    assert (code, "localhost:9 cannot be reached" in err) == (3, True)
    code, _, err = run(reference=":21")
    assert (code, "node/manifests/21 does not exist" in err) == (1, True)


def test_an_answer_without_end_is_cut_off(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("basegate_cli.registry._LIMIT_BYTES", 10)
    with pytest.raises(Refused, match="more than 10 bytes"):
        Registry(double.host, Login()).manifest("node", "20")


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_a_registry_that_sends_a_byte_now_and_then_is_left_in_time(
    run: Run, double: Double, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    ended = threading.Event()

    def trickle(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(head)
        while not ended.wait(0.02):
            request.wfile.write(b"1")

    monkeypatch.setattr(double, "answer", trickle)
    code, out, err = run("--timeout", "0.1")
    ended.set()
    assert (code, out) == (3, "")
    assert f"{double.host} did not send everything within 0.1 seconds: allow more with --timeout" in err


def test_only_keys_of_the_file_are_trusted(run: Run, double: Double, made: Any) -> None:
    for bundle in made[0]:
        double.attach(bundle)
    code, _, err = run("--key-id", "another")
    assert (code, "has no key another, but " in err) == (1, True)


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("r.azurecr.io/node", ("r.azurecr.io", "node", "latest")),
        ("localhost:5000/a/b:1.2", ("localhost:5000", "a/b", "1.2")),
        ("localhost/a", ("localhost", "a", "latest")),
        ("team:5000/a", ("team:5000", "a", "latest")),
        ("[::1]:5000/a", ("[::1]:5000", "a", "latest")),
        (f"R.azurecr.io/node:1@{digest_of(IMAGE)}", ("r.azurecr.io", "node", digest_of(IMAGE))),
    ],
)
def test_the_name_of_an_image_is_parsed(text: str, image: tuple[str, str, str]) -> None:
    assert parse_image(text) == image


@pytest.mark.parametrize(
    "text",
    [
        "node", "node:20", "library/node:20", "r.io/", "r.io/Node", "r.io/n:a b", "r.io/n@x", "r.io:99999/n",
        "r.io:0/n", "r.io:/n", "[::1/n",
    ],
)  # fmt: skip
def test_what_names_no_image_in_a_registry_is_refused(text: str) -> None:
    with pytest.raises(Refused, match=r"does not begin with a registry|is not the name of an image"):
        parse_image(text)
