"""The SDKs' errors become the gate's own, by what the caller should do, and carry no secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity import CredentialUnavailableError

from shared.adapters.azure_calls import error_code, expected, translated
from shared.adapters.redaction import readable, without_secrets
from shared.domain.errors import (
    BasegateError,
    Busy,
    Cause,
    Conflict,
    Misconfigured,
    NeedsRecreation,
    Rejected,
    Retry,
)


class Model:
    """The error of a body, as the SDKs parse it."""

    def __init__(self, code: str) -> None:
        self.code, self.message = code, ""


def response_error(
    status: int | None,
    message: str = "the service's words",
    code: str = "",
    headers: Mapping[str, str] | None = None,
    kind: type[HttpResponseError] = HttpResponseError,
) -> HttpResponseError:
    error = kind(message=message)
    error.status_code = status
    answer: Any = type("Answer", (), {"headers": headers or {}, "status_code": status, "reason": ""})()
    error.response = answer
    if code:
        error.error = Model(code)  # type: ignore[assignment]
    return error


def translation(error: Exception, remedy: str = "") -> BasegateError:
    with pytest.raises(BasegateError) as caught, translated("reading the thing", remedy=remedy):
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        *((response_error(status), Retry) for status in (408, 429, 500, 502, 503, 504)),
        (ServiceRequestError("connection refused"), Retry),
        (ServiceResponseError("connection reset"), Retry),
        (AzureError("something else"), Retry),
        (response_error(401), Misconfigured),
        (response_error(403, code="AuthorizationFailed"), Misconfigured),
        (response_error(400, code="TasksOperationsNotAllowed"), Misconfigured),
        (response_error(None, code="DENIED"), Misconfigured),
        (ClientAuthenticationError("no token"), Retry),
        (CredentialUnavailableError("no managed identity endpoint"), Retry),
        (response_error(401, kind=ClientAuthenticationError), Misconfigured),
        (response_error(400, code="InvalidParameter"), Rejected),
        (response_error(404, kind=ResourceNotFoundError), Rejected),
        (response_error(409, kind=ResourceExistsError), Rejected),
        (response_error(412), Rejected),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else f"{type(value).__name__}-{value}"[:60],
)
def test_an_error_says_what_the_caller_should_do(error: Exception, kind: type[BasegateError]) -> None:
    mapped = translation(error)
    assert type(mapped) is kind
    assert str(mapped).startswith("reading the thing: ")
    assert mapped.__cause__ is error


def test_an_answer_cut_off_half_way_is_tried_again() -> None:
    assert isinstance(translation(IncompleteReadError("premature end", response=None)), Retry)


@pytest.mark.parametrize(
    "error", [Retry("x"), Busy("x"), Misconfigured("x"), Rejected("x"), Conflict("x"), NeedsRecreation("x")]
)
def test_the_gate_s_own_errors_pass_untouched(error: BasegateError) -> None:
    assert translation(error) is error


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), ZeroDivisionError("x")])
def test_a_mistake_in_the_code_is_not_taken_for_a_fault_of_azure(error: Exception) -> None:
    with pytest.raises(type(error)), translated("reading"):
        raise error


@pytest.mark.parametrize(
    ("value", "delay"),
    [("17", 17), ("0", 0), ("86400", 300), ("", 5), ("soon", 5), ("Wed, 21 Oct 2026 07:28:00 GMT", 5)],
)
def test_the_service_says_how_long_to_wait_within_reason(value: str, delay: float) -> None:
    mapped = translation(response_error(429, headers={"Retry-After": value}))
    assert isinstance(mapped, Retry)
    assert mapped.delay_seconds == delay


def test_a_refusal_says_what_to_do() -> None:
    assert str(translation(response_error(403), "give the app AcrPull")).endswith("To fix it: give the app AcrPull")
    assert "free credits" in str(translation(response_error(403, code="TasksOperationsNotAllowed")))
    assert "the role it needs there" in str(translation(response_error(403)))


FIREWALLS = [
    ("AuthorizationFailure", "This request is not authorized to perform this operation."),
    ("Forbidden", "Client address is not authorized and caller is not a trusted service. Client address: 10.1.2.3"),
    ("Forbidden", "Public network access is disabled and request is not from a trusted service nor via private link."),
    ("DENIED", "client with IP '10.1.2.3' is not allowed access. Refer https://aka.ms/acr/firewall to grant access"),
]


@pytest.mark.parametrize(("code", "message"), FIREWALLS)
def test_a_network_rule_is_not_taken_for_a_missing_role(code: str, message: str) -> None:
    mapped = translation(response_error(403, message, code), "give the app AcrPull")
    assert (type(mapped), mapped.cause) == (Misconfigured, Cause.NETWORK)
    assert "network rule" in mapped.remedy
    assert "AcrPull" not in str(mapped)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("AuthorizationPermissionMismatch", "This request is not authorized to perform it using this permission."),
        ("AuthorizationFailed", "The client '1' does not have authorization to perform action 'x' over scope 'y'"),
        ("UNAUTHORIZED", "authentication required"),
        ("Forbidden", "Caller is not authorized to perform action on resource."),
    ],
)  # fmt: skip
def test_a_missing_role_is_told_by_its_name(code: str, message: str) -> None:
    mapped = translation(response_error(403, message, code), "give the app AcrPull")
    assert (mapped.cause, mapped.remedy) == (Cause.ROLE, "give the app AcrPull")


def test_no_role_helps_a_subscription_that_may_run_no_tasks() -> None:
    said = "ACR Tasks requests for the registry contoso and 1 are not permitted."
    mapped = translation(response_error(400, said, "TasksOperationsNotAllowed"), "give the app Tasks Contributor")
    assert mapped.cause is Cause.TASKS_NOT_ALLOWED
    assert "Azure support" in mapped.remedy
    assert "Tasks Contributor" not in str(mapped)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "HTTPSConnectionPool(host='v', port=443): Failed to resolve 'v' ([Errno -2] Name or service not known)",
            "DNS",
        ),
        ("<urllib3.connection.HTTPSConnection>: Connection to v timed out. (connect timeout=300)", "firewall"),
    ],
)
def test_a_service_that_is_not_reached_is_waited_for_and_says_where_to_look(message: str, said: str) -> None:
    mapped = translation(ServiceRequestError(message))
    assert (type(mapped), mapped.cause) == (Retry, Cause.NETWORK)
    assert f"If it persists: {mapped.remedy}" in str(mapped)
    assert said in mapped.remedy


def test_an_identity_that_gives_no_token_is_waited_for_and_says_what_to_do() -> None:
    said = str(translation(CredentialUnavailableError("no managed identity endpoint"), "give the app AcrPull"))
    assert "no token for the app's identity" in said
    assert "switch the managed identity on" in said


def test_status_and_code_are_told() -> None:
    assert str(translation(response_error(409, "it is locked", "TagLocked"))) == (
        "reading the thing: 409 TagLocked it is locked"
    )


def test_only_the_first_line_is_told_and_not_too_much_of_it() -> None:
    said = str(translation(response_error(400, "first\nsecond\n" + "x" * 5_000)))
    assert said.endswith("first")
    assert len(str(translation(response_error(400, "x" * 5_000)))) < 400
    assert str(translation(response_error(400, " \n "))) == "reading the thing: 400"


def test_missing_is_told_apart() -> None:
    for missing in (response_error(404), ResourceNotFoundError("gone")):
        with expected(404):
            raise missing
    with pytest.raises(HttpResponseError), expected(404):
        raise response_error(403)


def test_a_code_is_found_wherever_the_sdk_puts_it() -> None:
    storage = response_error(409)
    storage.error_code = "TableBeingDeleted"  # type: ignore[attr-defined]
    assert error_code(storage) == "TableBeingDeleted"
    assert error_code(response_error(400, code="InvalidParameter")) == "InvalidParameter"
    assert error_code(response_error(400)) == ""


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (403, "LinkedAuthorizationFailed", "Managed Identity Operator"),
        (409, "MissingSubscriptionRegistration", "az provider register --namespace"),
    ],
)
def test_what_an_operator_must_do_in_azure_first_is_said(status: int, code: str, remedy: str) -> None:
    error = translation(response_error(status, "namespace 'Microsoft.ContainerInstance'", code=code))
    assert isinstance(error, Misconfigured)
    assert remedy in error.remedy
    assert "Microsoft.ContainerInstance" in str(error)


SECRET = "s3cr3tS1gnature%2Bvalue%3D"
MESSAGES = [
    f"GET https://logs.blob.core.windows.net/c/ca4.log?sv=2024-05-04&sr=b&sig={SECRET} failed",
    f"https://logs.blob.core.windows.net/c/ca4.log?sig={SECRET}",
    f'{{"uri":"https://app.azurewebsites.net/runtime/webhooks/eventgrid?functionName=x&code={SECRET}"}}',
    f"HTTPSConnectionPool(host='h', port=443): Max retries exceeded with url: /c/l?se=2026&sig={SECRET} (Caused by)",
    f"<a href='https://x/y?SIG={SECRET}'>",
    f"see https://x/y#access_token={SECRET}",
    f"sv=2024-05-04&sig={SECRET}&se=2026",
    f"code={SECRET}",
    f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={SECRET};EndpointSuffix=core.windows.net",
    f"Endpoint=sb://x/;SharedAccessKeyName=root;SharedAccessKey={SECRET}",
    f"cannot pull from https://user:{SECRET}@contoso.azurecr.io/v2/",
    f"header Authorization: Bearer {SECRET} is refused",
    f'body was {{"username": "u", "password": "{SECRET}"}}',
    f"grant_type=refresh_token&refresh_token={SECRET}",
    f"client_secret={SECRET}",
]


@pytest.mark.parametrize("message", MESSAGES)
def test_no_secret_in_a_message_of_an_sdk_comes_through(message: str) -> None:
    for error in (response_error(400, message), response_error(403, message), ServiceRequestError(message)):
        said = str(translation(error))
        assert SECRET not in said
        assert SECRET[:8] not in said


def test_a_secret_at_the_cut_is_not_left_in_half() -> None:
    for padding in range(230, 300):
        assert SECRET[:4] not in readable("x" * padding + f" https://h/c/l?sig={SECRET}")


@pytest.mark.parametrize(
    "message",
    [
        "(AuthorizationFailed) The client 'x' does not have authorization to perform action 'Microsoft.X/read'",
        "error code: ManifestUnknown, status code: 404, exit code: 1",
        "Is node:15-alpine there? It is not.",
        "https://contoso.azurecr.io/v2/node/manifests/15-alpine answered 404",
        "the signature of the image is not valid",
        "Basic authentication is off",
    ],
)
def test_an_honest_message_is_left_as_it_is(message: str) -> None:
    assert readable(message) == message


def test_a_log_keeps_every_line_but_no_secret() -> None:
    log = "\n".join([*MESSAGES, "GET https://x/y?page=2 answered 200", "ERROR: Invalid Color: Red, exit code=137"])
    kept = without_secrets(log)
    assert SECRET not in kept.replace(f"code={SECRET}", "")
    assert len(kept.splitlines()) == len(log.splitlines())
    assert kept.endswith("GET https://x/y?page=2 answered 200\nERROR: Invalid Color: Red, exit code=137")
