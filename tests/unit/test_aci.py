"""What Azure Container Instances alone says, as the gate's errors."""

from __future__ import annotations

import pytest
from azure.core.exceptions import HttpResponseError

from shared.adapters.containers_aci import _translated
from shared.domain.errors import Rejected, Transitioning
from tests.unit.test_azure_errors import response_error


@pytest.mark.parametrize(
    "message", ["container group 'x' is still transitioning, please retry", "The resource is TRANSITIONING"]
)
def test_a_group_that_is_still_changing_is_waited_for(message: str) -> None:
    with pytest.raises(Transitioning, match="deploying it: 409"), _translated("deploying it"):
        raise response_error(409, message)


def test_any_other_refusal_is_one() -> None:
    with pytest.raises(Rejected) as caught, _translated("deploying it"):
        raise response_error(409, "no")
    assert isinstance(caught.value.__cause__, HttpResponseError)
