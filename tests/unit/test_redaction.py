"""What looks like a secret is taken out of what services and logs say; all else stays as it is."""

from __future__ import annotations

import base64

import pytest

from shared.adapters.redaction import readable, without_secrets

SECRET = "hunter2-Tr0ub4dor"
JWT = f"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.{SECRET}"
KEY = f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n{SECRET}\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    "text",
    [
        f"DB_PASSWORD={SECRET}",
        f"export NPM_TOKEN={SECRET} && npm ci",
        f"AZURE_STORAGE_KEY={SECRET}",
        f"SIGNING_SECRET: {SECRET}",
        f'password="{SECRET} with two words"',
        f"PASSWORD='{SECRET} and \"quotes\"'",
        f'{{"client_secret": "{SECRET}\\" and more"}}',
        f"curl --password {SECRET} https://x",
        f"tool --token={SECRET}",
        f"tool --api-key '{SECRET} two'",
        f"docker login contoso.azurecr.io -u me -p {SECRET}",
        f"az acr login --name contoso -u me -p={SECRET}",
        f"az login --service-principal -u 0b1 -p '{SECRET} two' --tenant x",
        f"mysql -u root -p{SECRET} shop",
        f"tool -q -p {SECRET} -v",
        f"sshpass -p {SECRET} ssh ada@host",
        f"twine upload -u ada -p {SECRET} dist/x.whl",
        f"cf push -p 8080:80 && tool -p {SECRET}",
        f"curl -fsu ada:{SECRET} https://x || curl -u ada:{SECRET} https://x",
        f"curl --user 'ada:{SECRET} two' https://x",
        f"skopeo copy --src-creds ada:{SECRET} docker://x docker://y",
        f'"password": "{SECRET} is where the service has cut it',
        f"PASSWORD='{SECRET} is where the service has cut it",
        f'the body was {{\\"password\\": \\"{SECRET}\\", \\"user\\": \\"ada\\"}}',
        f'Authorization: Digest username="ada", response="{SECRET}"',
        f'{{"Authorization": "Digest username=\\"ada\\", response=\\"{SECRET}\\""}}',
        f"curl -H 'Authorization: Bearer {SECRET}' https://x",
        f"Authorization: Negotiate {SECRET}",
        f"> authorization: AWS4-HMAC-SHA256 Credential={SECRET}, Signature={SECRET}",
        f'{{"Authorization": "Bearer {SECRET}"}}',
        f"Proxy-Authorization: Basic {SECRET}",
        f"the id is {JWT} there",
        f"https://x.blob.core.windows.net/c/l?sv=2024&sig={SECRET}&se=2026",
        f"cloning https://ada:{SECRET}@github.com/contoso/x",
        KEY,
        KEY.partition("-----END")[0].strip(),
    ],
)
def test_no_secret_stays_in_a_text(text: str) -> None:
    log = f"before\n{text}\nafter"
    kept = without_secrets(log)
    assert SECRET not in kept
    assert SECRET[:8] not in kept
    assert (kept.splitlines()[0], kept.count("\n")) == ("before", log.count("\n"))
    assert SECRET not in readable(text)


@pytest.mark.parametrize(
    "text",
    [
        "docker run -p 80:80 nginx && mkdir -p /srv/data",
        "the key is missing; tokens: 12; a secret of success",
        "docker run --user 1000:1000 -p 127.0.0.1:8080:80/tcp -p 9090:90 -u 10:20 nginx",
        "mkdir -p build && cp -p a b && tsc -p ./tsconfig.json && ssh -p 2222 host && podman ps -p",
        "cache key computed in 3 s",
        "GET /v2/_catalog?n=100 200",
        "RUN apk add --no-cache openssl # password hashing",
        "error code: ManifestUnknown, exit code: 1",
        "keys=4 monkey=1",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert without_secrets(text) == text


def test_nothing_turns_the_direction_of_a_text_or_hides_in_it() -> None:
    tricky = "passed \u202edeliaf\u202c b\u200but \u2066not\u2069 really\ufeff"
    assert without_secrets(tricky) == "passed deliaf but not really"
    assert readable(tricky) == "passed deliaf but not really"


@pytest.mark.parametrize(
    "escaped",
    [
        "\x1b[31mERROR\x1b[0m",
        "\x1b[1;31mERR\x1b[mOR",
        "\x1b[38;5;196mERROR\x1b[39m",
        "\x1b[38:2::255:0:0mERROR",
        "\x1b[?25lERROR\x1b[?25h",
        "\x1b[2K\x1b[1GERROR",
        "\x1b]0;a title\x07ERROR",
        "\x1b]8;;https://x\x1b\\ERROR\x1b]8;;\x1b\\",
        "\x1b(BERROR\x1b=",
        "\x1bMERROR",
        "\x1b\x1b[mERROR",
        "\x1b\u200b[31mERROR",
    ],
)
def test_what_steers_a_terminal_is_taken_out(escaped: str) -> None:
    assert without_secrets(f"{escaped}: Red") == "ERROR: Red"


VALUE = 'kq7/Zr+91 "x"=Lw'


@pytest.mark.parametrize(
    "form",
    [
        VALUE,
        "kq7%2FZr%2B91%20%22x%22%3DLw",
        'kq7/Zr+91 \\"x\\"=Lw',
        base64.b64encode(VALUE.encode()).decode(),
        f"\x1b[1m{VALUE}",
    ],
    ids=["as it is", "in a URL", "in JSON", "in base64", "in bold"],
)
def test_a_known_value_is_taken_out_in_whatever_words_it_stands(form: str) -> None:
    assert without_secrets(f"step 3 said {form} and went on", [VALUE]) == "step 3 said *** and went on"
    assert readable(f"it said {form}", [VALUE]) == "it said ***"


@pytest.mark.parametrize("before", ["", "u", "us", "user:", "a much longer user:"])
@pytest.mark.parametrize("after", ["", "\n", '", "x": 1'])
def test_a_known_value_is_taken_out_of_base64_wherever_it_begins_there(before: str, after: str) -> None:
    """As in the `auth` of a Docker configuration, or in a request's header that a script shows."""
    value = "kq7Zr91xLw"
    encoded = base64.b64encode(f"{before}{value}{after}".encode()).decode()
    left = without_secrets(f"it is {encoded}", [value]).removeprefix("it is ").replace("***", "")
    shifted = ["A" * skipped + left for skipped in range(4)]
    read = [base64.b64decode(text[: len(text) // 4 * 4]) for text in shifted]
    pieces = [value[at : at + 4].encode() for at in range(len(value) - 3)]
    assert not [piece for piece in pieces for text in read if piece in text]


def test_a_value_that_colours_cut_in_two_is_found() -> None:
    assert without_secrets("kq7zr\x1b[0m91xLw", ["kq7zr91xLw"]) == "***"


def test_every_line_of_a_value_is_taken_out_by_itself() -> None:
    value = "first line of it\n}\nsecond line of it"
    assert without_secrets("1: first line of it\n2: {}\n3: second line of it", [value]) == "1: ***\n2: {}\n3: ***"


def test_of_a_value_that_is_being_written_the_beginning_is_taken_out() -> None:
    assert without_secrets("the token is kq7zr91", ["kq7zr91xLw"]) == "the token is ***"


def test_of_two_values_the_longer_one_goes_first() -> None:
    assert without_secrets("secrets: abcdef-ghi", ["abcdef", "abcdef-ghi"]) == "secrets: ***"


@pytest.mark.parametrize("value", ["", "true", "node", " x\n", "12345"])
def test_a_value_that_is_too_short_to_be_secret_destroys_no_log(value: str) -> None:
    log = "true: node 12345 built x"
    assert without_secrets(log, [value]) == log


@pytest.mark.parametrize(
    "piece", ['password="', "-----BEGIN PRIVATE KEY-----", "login -p", "eyJ", "a_key=\\'", "Authorization:"]
)
def test_a_megabyte_takes_no_longer_than_its_length(piece: str) -> None:
    """An expression that were quadratic would take hours here, and the test's own limit ends it."""
    without_secrets(piece * (1_000_000 // len(piece)))


def test_an_error_keeps_nothing_of_what_a_url_asks() -> None:
    said = "GET https://x.azurecr.io/v2/?account=ada&state=a%20b failed, as did https://y/z#user=ada"
    assert readable(said) == "GET https://x.azurecr.io/v2/ failed, as did https://y/z"
