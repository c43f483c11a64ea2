"""The settings: read once, every fault together, secrets nowhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from shared import bootstrap
from shared.adapters.listeners import KINDS
from shared.bootstrap import Basegate
from shared.domain.errors import Misconfigured
from shared.rules import InvalidGates
from shared.settings import APP_ROOT, Settings, read_settings, setting_names

STORAGE = {"AzureWebJobsStorage__accountName": "basegatestore"}


def test_one_setting_is_enough() -> None:
    assert read_settings(STORAGE) == Settings(storage_account="basegatestore")


def test_every_setting_is_read_from_its_variable() -> None:
    environment = STORAGE | {
        "BASEGATE_KEY_VAULT": "https://v.vault.azure.net",
        "BASEGATE_SIGNING_KEY": "https://v.vault.azure.net/keys/signing",
        "BASEGATE_GATES": "rules/gates.yaml",
        "BASEGATE_ANNOUNCE_TOPIC": "https://t.eastus-1.eventgrid.azure.net/api/events",
        "BASEGATE_WEBHOOK_URL": "https://hooks.example.com/x",
        "BASEGATE_WEBHOOK_STYLE": "slack",
        "BASEGATE_WEBHOOK_SECRET": "webhook-key",
        "BASEGATE_PUBLIC_URL": "https://gate.contoso.com",
        "BASEGATE_SWEEP_SCHEDULE": "0 0 * * * *",
        "BASEGATE_KEEP_DAYS": "30",
        "BASEGATE_STORAGE_SUFFIX": "core.chinacloudapi.cn",
        "BASEGATE_TELEMETRY": "otlp",
        "BASEGATE_SIGN_IN": "easy-auth",
    }
    settings = read_settings(environment, KINDS)
    assert set(environment) == set(setting_names(KINDS))
    assert dataclasses.astuple(settings) == (
        "basegatestore",
        "https://v.vault.azure.net",
        "https://v.vault.azure.net/keys/signing",
        "rules/gates.yaml",
        {
            "BASEGATE_ANNOUNCE_TOPIC": "https://t.eastus-1.eventgrid.azure.net/api/events",
            "BASEGATE_WEBHOOK_URL": "https://hooks.example.com/x",
            "BASEGATE_WEBHOOK_STYLE": "slack",
            "BASEGATE_WEBHOOK_SECRET": "webhook-key",
        },
        "https://gate.contoso.com",
        "",
        "0 0 * * * *",
        30,
        "core.chinacloudapi.cn",
        "otlp",
        "easy-auth",
    )


@pytest.mark.parametrize("days", ["0", "-1", "1.5", "a year", "10000"])
def test_what_is_kept_is_a_number_of_days(days: str) -> None:
    with pytest.raises(Misconfigured, match=r"BASEGATE_KEEP_DAYS is .*: it must be a number of days, 1 to 9999"):
        read_settings(STORAGE | {"BASEGATE_KEEP_DAYS": days})


def test_blank_is_absent_and_blanks_around_are_dropped() -> None:
    environment = {"AzureWebJobsStorage__accountName": " store \n", "BASEGATE_KEY_VAULT": "  ", "BASEGATE_GATES": ""}
    assert read_settings(environment) == Settings(storage_account="store")


def test_every_fault_is_told_together_by_its_variable() -> None:
    environment = {
        "BASEGATE_KEY_VAULT": "http://v.vault.azure.net",
        "BASEGATE_ANNOUNCE_TOPIC": "topic",
        "BASEGATE_TELEMETRY": "on",
    }
    with pytest.raises(Misconfigured) as caught:
        read_settings(environment, KINDS)
    lines = str(caught.value).splitlines()[1:]
    assert [line.split()[0] for line in lines] == [
        "AzureWebJobsStorage__accountName",
        "BASEGATE_KEY_VAULT",
        "BASEGATE_TELEMETRY",
        "BASEGATE_ANNOUNCE_TOPIC",
    ]
    assert "off, azure or otlp" in lines[2]


def test_a_connection_string_in_a_wrong_place_is_not_repeated() -> None:
    pasted = "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=c2VjcmV0"
    with pytest.raises(Misconfigured, match="BASEGATE_ANNOUNCE_TOPIC is 'Endpoint'") as caught:
        read_settings(STORAGE | {"BASEGATE_ANNOUNCE_TOPIC": pasted}, KINDS)
    assert "SharedAccessKey" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, ""),
        ({"WEBSITE_HOSTNAME": "gate.azurewebsites.net"}, "https://gate.azurewebsites.net"),
        ({"WEBSITE_HOSTNAME": "localhost:7071"}, ""),
        ({"WEBSITE_HOSTNAME": "gate.azurewebsites.net", "BASEGATE_PUBLIC_URL": "https://g.com/"}, "https://g.com"),
        ({"BASEGATE_PUBLIC_URL": "https://front.contoso.com:8443/gate/"}, "https://front.contoso.com:8443/gate"),
    ],
)
def test_people_reach_the_app_at_the_site_s_own_name_unless_another_is_set(
    environment: dict[str, str], url: str
) -> None:
    assert read_settings(STORAGE | environment).public_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://gate.contoso.com",
        "gate.contoso.com",
        "https://",
        "https://gate.contoso.com/api/board?code=s3cret",
        "https://gate.contoso.com/#s3cret",
        "https://user:s3cret@gate.contoso.com",
        "https://gate.contoso.com:port/s3cret",
        "https://gate.contoso.com/a|s3cret>",
        "https://[gate/s3cret",
    ],
)
def test_a_public_url_that_links_cannot_begin_with_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(Misconfigured, match="BASEGATE_PUBLIC_URL must be https://<host>, without user") as caught:
        read_settings(STORAGE | {"BASEGATE_PUBLIC_URL": url})
    assert "s3cret" not in str(caught.value)


def test_a_huge_value_is_told_short() -> None:
    with pytest.raises(Misconfigured) as caught:
        read_settings(STORAGE | {"BASEGATE_TELEMETRY": "x" * 10_000})
    assert len(str(caught.value)) < 300


def test_settings_that_are_printed_show_no_webhook() -> None:
    settings = Settings(storage_account="store", listeners={"BASEGATE_WEBHOOK_URL": "https://hooks.example/s3cret"})
    assert "s3cret" not in f"{settings} {settings!r}"
    assert "storage_account='store'" in repr(settings)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        read_settings(STORAGE).gates = "other.yaml"  # type: ignore[misc]


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AzureWebJobsStorage__accountName", "fromprocess")
    assert read_settings().storage_account == "fromprocess"


def test_settings_that_are_wrong_at_first_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Misconfigured, match="AzureWebJobsStorage__accountName is missing"):
        bootstrap.basegate()
    monkeypatch.setenv("AzureWebJobsStorage__accountName", "mended")
    try:
        assert bootstrap.basegate().settings.storage_account == "mended"
        assert bootstrap.basegate() is bootstrap.basegate()
    finally:
        bootstrap._basegate.cache_clear()


def rules(folder: Path, content: bytes) -> Basegate:
    file = folder / "gates.yaml"
    file.write_bytes(content)
    return Basegate(Settings(storage_account="store", gates=str(file)))


def test_rules_that_are_missing_name_the_setting(tmp_path: Path) -> None:
    app = Basegate(Settings(storage_account="store", gates=str(tmp_path / "nowhere.yaml")))
    with pytest.raises(Misconfigured, match=r"nowhere\.yaml cannot be read \(No such file.*BASEGATE_GATES"):
        _ = app.policy


def test_rules_that_are_no_text_say_so(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="it is not UTF-8 text"):
        _ = rules(tmp_path, b"\xff\xfe\x00").policy


def test_rules_with_faults_are_told_by_the_file_s_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidGates, match=r"^gates\.yaml has 2 errors"):
        _ = rules(tmp_path, b"registries: {}\ngates: {}\n").policy


def test_two_persons_are_refused_where_a_key_is_all_that_is_known_of_one(tmp_path: Path) -> None:
    text = (
        (APP_ROOT / "gates.sample.yaml")
        .read_text()
        .replace("    checks:", "    checks:\n      - approval: {two_persons: true}")
    )
    app = rules(tmp_path, text.encode())
    with pytest.raises(InvalidGates, match=r"line \d+.*approval\.two_persons: a function key does not identify"):
        _ = app.policy
    signed_in = Basegate(dataclasses.replace(app.settings, sign_in="easy-auth"))
    assert signed_in.policy.gates["node"].checks[0].kind == "approval"


def test_the_sample_rules_make_an_app_without_a_call_to_anyone() -> None:
    app = Basegate(Settings(storage_account="store", gates="gates.sample.yaml"))
    assert app.hints is app.hints
    assert app.reconciler is app.reconciler
    assert dataclasses.is_dataclass(app.services)
