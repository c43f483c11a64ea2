"""What operators read, from the real ledger: calls made up by schemathesis, and lists as the service gives them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case

from demo import scenario
from functions.web.openapi import document
from shared import bootstrap
from shared.bootstrap import Basegate
from shared.domain.image import parse_digest
from shared.domain.rollout import Cause, Rollout, RolloutState
from shared.domain.stable_tag import HoldUntil
from shared.operations import Who
from shared.settings import Settings
from tests.contract.place import VAULT_URL, Place
from tests.contract.test_http_interface import CHECKED, with_real_names
from tests.served import KEY, serving

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WHO = Who("op", "it is three in the morning")
DIGEST = parse_digest("sha256:" + "5" * 64)

schema = schemathesis.openapi.from_dict(with_real_names()).include(method="GET").exclude(path="/readyz")


@pytest.fixture(scope="module")
def url(place: Place) -> Iterator[str]:
    """Where the interface is, on the sandbox's storage account."""
    own = Settings(storage_account=scenario.STORAGE, key_vault=VAULT_URL, gates=str(scenario.GATES))
    app = Basegate(own)
    with pytest.MonkeyPatch.context() as patch, serving() as url:
        patch.setattr(bootstrap, "credential", place.credential)
        patch.setattr(bootstrap, "basegate", lambda: app)
        for number in range(5):
            state = RolloutState.LIVE if number % 2 else RolloutState.FAILED
            moment = START + timedelta(minutes=number)
            rollout = Rollout(
                app="hello-world", name=f"r{number}", cause=Cause.BASE, state=state, created_at=moment
            )  # fmt: skip
            app.services.ledger.insert(rollout.noting(moment, "started"))
        app.operate.gates.hold("node", "15-alpine", HoldUntil.LIFTED, WHO).act()
        app.operate.vetoes.veto("node", DIGEST, WHO).act()
        yield f"{url}/api"


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """A connection that goes to the server itself, and not to Azure's stand-in."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers["x-functions-key"] = KEY
        yield session


@schema.parametrize()
@settings(
    max_examples=15,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_read_of_the_real_ledger_is_one_that_is_described(
    case: Case[Any], url: str, session: requests.Session
) -> None:
    answer = case.call(base_url=url, session=session)
    case.validate_response(answer, checks=CHECKED)


def test_a_filtered_list_is_read_to_its_end(url: str, session: requests.Session) -> None:
    params, found = {"state": "live", "limit": "1", "since": "2026-03-01T12:01:00Z"}, []
    while True:
        page = session.get(f"{url}/v1/apps/hello-world/rollouts", params=params).json()
        found += [item["id"] for item in page["items"]]
        if not page["next"]:
            break
        params["token"] = page["next"]
    assert found == ["hello-world.r3", "hello-world.r1"]


def test_what_operators_decided_is_told(url: str, session: requests.Session) -> None:
    (hold,) = session.get(f"{url}/v1/holds").json()["items"]
    (veto,) = session.get(f"{url}/v1/vetoes").json()["items"]
    assert (hold["gate"], hold["tag"], hold["reason"]) == ("node", "15-alpine", WHO.reason)
    assert (veto["digest"], veto["reason"]) == (DIGEST, WHO.reason)
    assert msgspec.json.decode(session.get(f"{url}/v1/openapi.json").content) == msgspec.to_builtins(document())


@pytest.mark.parametrize("token", ["%00", "~", "WyJhIiwiYiJd", "WyJhIiwgIlx1MDAwYSJd", "' or 1 eq 1"])
def test_a_token_of_somebody_s_own_leads_nowhere(url: str, session: requests.Session, token: str) -> None:
    answer = session.get(f"{url}/v1/apps/hello-world/rollouts", params={"token": token})
    assert answer.status_code in (200, 400)
    assert answer.status_code == 400 or all(item["app"] == "hello-world" for item in answer.json()["items"])
