"""Who may: no header is believed that anybody may send, no other site acts for a person, no page goes in the open."""

from __future__ import annotations

import base64
import json

import azure.functions as func
import pytest

from functions import board
from tests.fakes import World
from tests.triggers.asking import WHY, ask, operated


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return operated(monkeypatch)


APPROVER = {
    "X-MS-CLIENT-PRINCIPAL": base64.b64encode(
        json.dumps({"claims": [{"typ": "roles", "val": "Basegate.Approver"}]}).encode()
    ).decode(),
    "X-MS-CLIENT-PRINCIPAL-NAME": "ada@contoso.com",
}


def test_sign_in_that_is_switched_off_lets_nobody_in_and_readyz_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASEGATE_SIGN_IN", "easy-auth")
    for handler in ("status", "readyz"):
        status, problem = ask(handler, method="GET", headers=APPROVER)
        assert status == 503
        assert "App Service Authentication is off" in problem["detail"]
        assert "BASEGATE_SIGN_IN" in problem["remedy"]
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")
    assert ask("status", method="GET", headers=APPROVER)[0] == 200


def test_the_description_of_the_interface_is_for_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASEGATE_SIGN_IN", "easy-auth")
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")
    assert ask("openapi", method="GET")[0] == 403
    assert ask("openapi", method="GET", headers=APPROVER)[0] == 200


def test_a_page_of_another_site_does_nothing() -> None:
    for site in ("cross-site", "same-site"):
        status, problem = ask("sweep", WHY, headers={"Sec-Fetch-Site": site})
        assert (status, problem["detail"]) == (403, "cross-site requests are refused")
    assert ask("sweep", WHY, headers={"Sec-Fetch-Site": "same-origin"})[0] == 202


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_what_a_form_can_send_is_no_acting_call(kind: str) -> None:
    for body in (WHY, None):
        status, problem = ask("sweep", body, params={"reason": "because"}, headers={"Content-Type": kind})
        assert (status, problem["field"]) == (400, "Content-Type")


def shell(url: str, **headers: str) -> func.HttpResponse:
    request = func.HttpRequest(method="GET", url=url, params={}, headers=headers, route_params={}, body=b"")
    return board.shell(request)


def test_the_board_is_there_over_https_only_but_on_this_machine() -> None:
    assert shell("http://basegate.contoso.com/api/board").status_code == 403
    assert shell("http://basegate.contoso.com/api/board", **{"X-Forwarded-Proto": "http"}).status_code == 403
    assert shell("http://basegate.contoso.com/api/board", **{"X-Forwarded-Proto": "https"}).status_code == 200
    assert shell("http://localhost:7071/api/board").status_code == 200
    answer = shell("https://basegate.azurewebsites.net/api/board")
    assert (answer.status_code, answer.headers["Strict-Transport-Security"]) == (200, "max-age=31536000")
