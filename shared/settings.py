"""The app's settings: one frozen class, read from the environment once, every fault reported together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from shared.domain.errors import Misconfigured

QUEUE = "basegate-steps"
"""The queue of looks. A constant, because the trigger's binding and the ARM templates name it too."""

TABLE = "basegate"
EVIDENCE_CONTAINER = "basegate-evidence"

APP_ROOT = Path(__file__).resolve().parent.parent


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How this app runs. Nothing in here is a secret."""

    storage_account: str
    """The app's own storage account (`AzureWebJobsStorage__accountName`): ledger, queue and evidence."""

    key_vault: str = ""
    """URL of the Key Vault with the registries' credentials (`BASEGATE_KEY_VAULT`); "" where no rule names any."""

    gates: str = "gates.yaml"
    """The rules, a path from the app's root (`BASEGATE_GATES`)."""

    announce_topic: str = ""
    """Endpoint of the Event Grid custom topic that outcomes are told to (`BASEGATE_ANNOUNCE_TOPIC`); "" tells none."""

    storage_suffix: str = "core.windows.net"
    """Domain of storage endpoints (`BASEGATE_STORAGE_SUFFIX`), for clouds other than the public one."""

    telemetry: Literal["off", "azure", "otlp"] = "off"
    """Where OpenTelemetry sends to (`BASEGATE_TELEMETRY`): Application Insights, an OTLP endpoint, or nowhere."""

    sign_in: Literal["keys", "easy-auth"] = "keys"
    """Who may use the HTTP interface (`BASEGATE_SIGN_IN`): holders of a function key, or persons whom App Service
    Authentication has signed in. The second trusts headers that only App Service may set: switch it on there only."""


_NAMES = {
    "storage_account": "AzureWebJobsStorage__accountName",
    "key_vault": "BASEGATE_KEY_VAULT",
    "gates": "BASEGATE_GATES",
    "announce_topic": "BASEGATE_ANNOUNCE_TOPIC",
    "storage_suffix": "BASEGATE_STORAGE_SUFFIX",
    "telemetry": "BASEGATE_TELEMETRY",
    "sign_in": "BASEGATE_SIGN_IN",
}


def setting_names() -> tuple[str, ...]:
    """The environment variables that settings are read from."""
    return tuple(_NAMES.values())


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in an environment (this process's by default).

    Raises:
        Misconfigured: names every variable that is missing or wrong, and what it must be.
    """
    environment = os.environ if environment is None else environment
    values = {field: environment[name].strip() for field, name in _NAMES.items() if environment.get(name, "").strip()}
    faults = list(_faults(values))
    if faults:
        raise Misconfigured("the app's settings are not right:\n" + "\n".join(f"  {fault}" for fault in faults))
    return msgspec.convert(values, Settings)


def trusts_sign_in(environment: Mapping[str, str] | None = None) -> bool:
    """Whether App Service Authentication stands in front; needed when functions are indexed, before all else."""
    environment = os.environ if environment is None else environment
    return environment.get(_NAMES["sign_in"], "").strip() == "easy-auth"


def _faults(values: Mapping[str, str]) -> list[str]:
    faults = []
    if "storage_account" not in values:
        faults.append(f"{_NAMES['storage_account']} is missing: the name of the app's storage account")
    for field in ("key_vault", "announce_topic"):
        if field in values and not values[field].startswith("https://"):
            faults.append(f"{_NAMES[field]} is {values[field][:60]!r}: it must be an https URL")
    if values.get("telemetry", "off") not in ("off", "azure", "otlp"):
        faults.append(f"{_NAMES['telemetry']} is {values['telemetry'][:60]!r}: it must be off, azure or otlp")
    if values.get("sign_in", "keys") not in ("keys", "easy-auth"):
        faults.append(f"{_NAMES['sign_in']} is {values['sign_in'][:60]!r}: it must be keys or easy-auth")
    return faults
