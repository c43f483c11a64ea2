"""A listener is one file: a toy that writes outcomes down, from its setting to the outbox."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from shared.adapters import listeners
from shared.adapters.azure_calls import Identity
from shared.adapters.listeners.kind import ListenerKind
from shared.bootstrap import Basegate
from shared.domain.errors import Misconfigured
from shared.domain.outcome import Outcome
from shared.settings import read_settings
from tests.fakes import World, digest

ENVIRONMENT = {"AzureWebJobsStorage__accountName": "store", "BASEGATE_GATES": "gates.sample.yaml"}


class Journal(ListenerKind):
    """The toy: a file that outcomes are appended to."""

    name = "journal"
    settings = ("BASEGATE_JOURNAL",)

    def __init__(self, values: Mapping[str, str], identity: Identity, secret: Callable[[str], str]) -> None:
        self._file = Path(values["BASEGATE_JOURNAL"])

    @staticmethod
    def faults(values: Mapping[str, str]) -> Iterator[str]:
        if not values.get("BASEGATE_JOURNAL", "/").startswith("/"):
            yield "BASEGATE_JOURNAL must begin with /"

    def announce(self, outcome: Outcome) -> None:
        with self._file.open("a") as journal:
            journal.write(json.dumps({"name": outcome.name, **outcome.data}) + "\n")


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "KINDS", (*listeners.KINDS, Journal))


def test_an_outcome_reaches_a_listener_that_its_setting_names(tmp_path: Path) -> None:
    environment = ENVIRONMENT | {"BASEGATE_JOURNAL": f"{tmp_path}/journal", "BASEGATE_PUBLIC_URL": "https://gate.io"}
    app = Basegate(read_settings(environment, listeners.KINDS))
    world = World()
    world.more_listeners.update(app.services.listeners)
    world.restart()
    world.push("15-alpine", digest("Green"))
    world.settle()
    lines = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]
    assert [line["name"] for line in lines] == [outcome.name for outcome in world.announcer.announced]
    assert lines[0]["links"]["board"].startswith("https://gate.io/api/board/candidates/")


def test_a_listener_is_not_made_where_its_setting_is_missing() -> None:
    assert Basegate(read_settings(ENVIRONMENT, listeners.KINDS)).services.listeners == {}


def test_what_is_wrong_with_its_setting_is_told_with_all_the_others() -> None:
    with pytest.raises(Misconfigured) as caught:
        read_settings({"BASEGATE_JOURNAL": "journal"}, listeners.KINDS)
    assert [line.split()[0] for line in str(caught.value).splitlines()[1:]] == [
        "AzureWebJobsStorage__accountName",
        "BASEGATE_JOURNAL",
    ]
