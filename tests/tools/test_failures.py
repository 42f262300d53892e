"""What a model reads when its arguments do not fit."""

import json

import pytest
from pydantic import ValidationError

from tools.failures import bad_arguments
from tools.propose import ProposeArguments


def test_a_fault_of_the_whole_call_names_no_field() -> None:
    with pytest.raises(ValidationError) as caught:
        ProposeArguments.model_validate({"kind": "changes", "reason": "why"})
    told = json.loads(bad_arguments("propose_rebalance", (), caught.value))
    assert told["message"] == "propose_rebalance: kind changes needs targets."
    assert told["field"] is None


def test_a_fault_of_one_argument_names_it() -> None:
    target = {"pair": "SOL@bybit", "notional_usd": "NaN"}
    with pytest.raises(ValidationError) as caught:
        ProposeArguments.model_validate({"kind": "changes", "reason": "why", "targets": [target]})
    told = json.loads(bad_arguments("propose_rebalance", (), caught.value))
    assert told["field"] == "targets.0.notional_usd"
    assert told["message"].startswith("propose_rebalance: targets.0.notional_usd: ")
