"""Outcomes to a webhook, over real TLS on loopback."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import logging
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from shared.adapters.listeners import KINDS, webhook
from shared.adapters.listeners.kind import LinkingAnnouncer
from shared.adapters.listeners.webhook import Webhook
from shared.domain.errors import Misconfigured, Rejected, Retry
from shared.domain.outcome import Outcome
from shared.settings import read_settings
from tests.contract.registries.reading import nobody

OUTCOME = Outcome(
    name="CandidateFailed", subject="gates/node/candidates/1", data={"image": "r.io/node@sha256:1", "reason": "Red"}
)
STORAGE = {"AzureWebJobsStorage__accountName": "store"}


class Hook:
    """What was posted, and what to answer; `drips` what is answered instead, a byte every 20 ms."""

    def __init__(self, port: int) -> None:
        self.url = f"https://localhost:{port}/secret-path?key=secret"
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.status, self.headers, self.drips = 200, dict[str, str](), b""


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.posts.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            with suppress(OSError):
                for letter in posted.drips:
                    self.wfile.write(bytes((letter,)))
                    time.sleep(0.02)
            self.send_response(posted.status)
            for name, value in posted.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    posted = Hook(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield posted
    server.shutdown()
    server.server_close()
    thread.join(5)


def webhook_at(url: str, style: str = "generic", key: str = "") -> Webhook:
    values = {"BASEGATE_WEBHOOK_URL": url, "BASEGATE_WEBHOOK_STYLE": style, "BASEGATE_WEBHOOK_SECRET": key and "name"}
    return Webhook(values, nobody, {"name": key}.__getitem__)


def test_a_generic_post_carries_the_notice_and_a_signature_over_time_and_body(hook: Hook) -> None:
    webhook_at(hook.url, key="key").announce(OUTCOME)
    headers, body = hook.posts[0]
    assert json.loads(body)["type"] == "Basegate.CandidateFailed"
    moment, signature = (part.partition("=")[2] for part in headers["X-Basegate-Signature"].split(","))
    assert signature == hmac.new(b"key", moment.encode() + b"." + body, hashlib.sha256).hexdigest()


def test_slack_and_teams_get_their_own_shapes(hook: Hook) -> None:
    webhook_at(hook.url, "slack").announce(OUTCOME)
    webhook_at(hook.url, "teams").announce(OUTCOME)
    slack, teams = (json.loads(body) for _, body in hook.posts)
    assert slack == {"text": "*Basegate.CandidateFailed: r.io/node@sha256:1*\nRed"}
    assert teams["attachments"][0]["content"]["type"] == "AdaptiveCard"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_webhook_that_is_busy_is_tried_again_when_it_says(hook: Hook, status: int) -> None:
    hook.status, hook.headers = status, {"Retry-After": "17"}
    with pytest.raises(Retry) as fault:
        webhook_at(hook.url).announce(OUTCOME)
    assert fault.value.delay_seconds == 17


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413])
def test_a_refusal_is_of_this_outcome_and_shows_no_url(hook: Hook, status: int) -> None:
    hook.status = status
    with pytest.raises(Rejected) as error:
        webhook_at(hook.url).announce(OUTCOME)
    assert "secret" not in str(error.value)


def test_a_webhook_that_drips_ends_in_time(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    hook.drips = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 500
    monkeypatch.setattr(webhook, "_TIMEOUT_SECONDS", 0.3)
    began = time.monotonic()
    with pytest.raises(Retry):
        webhook_at(hook.url).announce(OUTCOME)
    assert time.monotonic() - began < 5


def test_a_webhook_that_does_not_answer_is_away_and_its_path_is_not_said() -> None:
    with pytest.raises(Retry) as fault:
        webhook_at("https://127.0.0.1:9/secret").announce(OUTCOME)
    assert "secret" not in str(fault.value)


@pytest.mark.parametrize("status", [302, 408, 429, 501, 505])
def test_a_redirect_and_what_may_pass_are_no_refusals(hook: Hook, status: int) -> None:
    hook.status, hook.headers = status, {"Location": "https://elsewhere.example/secret"}
    with pytest.raises(Retry) as fault:
        webhook_at(hook.url).announce(OUTCOME)
    assert "secret" not in str(fault.value)


def test_an_outcome_has_the_same_id_each_time_it_is_posted(hook: Hook) -> None:
    for _ in range(2):
        webhook_at(hook.url).announce(msgspec.structs.replace(OUTCOME, id="a1"))
    assert [json.loads(body)["id"] for _, body in hook.posts] == ["a1", "a1"]


def test_a_reference_that_was_not_resolved_is_told_without_its_text() -> None:
    environment = STORAGE | {"BASEGATE_WEBHOOK_URL": "@Microsoft.KeyVault(SecretUri=https://v/secrets/hook)"}
    with pytest.raises(Misconfigured, match="could not resolve") as error:
        read_settings(environment, KINDS)
    assert "secrets/hook" not in str(error.value)


def test_a_webhook_without_tls_is_refused_without_showing_it() -> None:
    with pytest.raises(Misconfigured, match="must be an https URL") as error:
        read_settings(STORAGE | {"BASEGATE_WEBHOOK_URL": "http://hooks.example/secret"}, KINDS)
    assert "secret" not in str(error.value)


def test_slack_and_teams_show_one_link_to_the_board_and_a_program_gets_both(hook: Hook) -> None:
    outcome = msgspec.structs.replace(OUTCOME, page="candidates/node.1")
    for style in ("slack", "teams", "generic"):
        LinkingAnnouncer("https://gate.contoso.com", webhook_at(hook.url, style)).announce(outcome)
    slack, teams, generic = (json.loads(body) for _, body in hook.posts)
    board = "https://gate.contoso.com/api/board/candidates/node.1"
    assert slack["text"].splitlines()[1:] == ["Red", f"<{board}|Open on the board>"]
    card = teams["attachments"][0]["content"]
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Open on the board", "url": board}]
    assert [fact["title"] for fact in card["body"][2]["facts"]] == ["image"]
    assert generic["data"]["links"] == {"board": board, "api": "https://gate.contoso.com/api/v1/candidates/node.1"}


def test_what_a_log_says_pings_nobody_and_makes_no_link_in_slack(hook: Hook) -> None:
    data = {"image": "r.io/node@sha256:1", "reason": "ERROR: <!channel> <https://evil.example|mend & go>"}
    webhook_at(hook.url, "slack").announce(Outcome(name="CandidateFailed", subject="s", data=data))
    text = json.loads(hook.posts[0][1])["text"]
    assert text.endswith("ERROR: &lt;!channel&gt; &lt;https://evil.example|mend &amp; go&gt;")


def test_what_a_log_says_makes_no_link_in_teams_and_lists_read_as_lists(hook: Hook) -> None:
    said = "ERROR: [mend it](https://evil.example)"
    data = {"image": "r.io/node@sha256:1", "reason": said, "tags": ["15", "15-alpine"], "uniqueTags": []}
    webhook_at(hook.url, "teams").announce(Outcome(name="CandidateFailed", subject="s", data=data))
    heading, reason, facts = json.loads(hook.posts[0][1])["attachments"][0]["content"]["body"]
    assert reason == {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": said}]}
    assert {"title": "tags", "value": "15, 15-alpine"} in facts["facts"]
    assert said not in json.dumps([heading, facts])


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example/se cret",
        "https://hooks.example:port/secret",
        "https://hooks.example/secr\u00e9t",
        "https:///secret",
    ],
)
def test_a_url_that_is_none_is_a_person_s_business_and_is_not_shown(url: str) -> None:
    with pytest.raises(Misconfigured, match="BASEGATE_WEBHOOK_URL") as caught:
        webhook_at(url).announce(OUTCOME)
    assert "secr" not in str(caught.value)
    assert "se cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("odd", [b"HTTP/1.1 200 OK\r\n: odd\r\nX Y\r\n\r\n", b"+OK not HTTP\r\n", b""])
def test_no_log_says_the_url_whatever_is_answered(hook: Hook, odd: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hook.drips = odd
    with suppress(Retry):
        webhook_at(hook.url).announce(OUTCOME)
    assert len(hook.posts) == 1
    assert "secret" not in caplog.text


def test_a_proxy_of_the_environment_is_not_asked(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    webhook_at(hook.url).announce(OUTCOME)
    assert len(hook.posts) == 1


def test_a_webhook_that_is_not_trusted_gets_nothing(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Retry, match=r"does not respond \(SSLCertVerificationError\)"):
        webhook_at(hook.url).announce(OUTCOME)
    assert hook.posts == []
