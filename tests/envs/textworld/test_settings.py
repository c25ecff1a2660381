"""Settings of TextWorld's games, as an experiment's file says them."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from agentprm_dagster.envs.textworld.kind import KIND
from agentprm_dagster.envs.textworld.settings import Settings


def test_one_kind_of_game_stands_for_a_list_of_one() -> None:
    assert Settings.model_validate({"kind": "textworld", "games": "cooking"}).games == ("cooking",)
    assert Settings.model_validate({"games": ["cooking", "coin_collector"]}).games == ("cooking", "coin_collector")


@pytest.mark.parametrize(
    "wrong",
    [{"games": []}, {"games": ["cooking", "cooking"]}, {"games": "chess"}, {"ingredients": 4}, {"cooking_rooms": 2},
     {"coin_distance": 0}, {"treasure_rooms": 3}, {"train": 0}, {"train": None}, {"valid_seen": 0},
     {"valid_unseen": -1}, {"kind": "alfworld"}, {"rooms": 3}],
)  # fmt: skip
def test_what_cannot_be_made_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


def test_counts_are_of_the_splits() -> None:
    assert Settings(train=5, valid_seen=4, valid_unseen=0).counts == {"train": 5, "valid_seen": 4, "valid_unseen": 0}
    assert {"train", *KIND.splits} == Settings().counts.keys()


def test_looking_at_the_kind_loads_nothing_slow() -> None:
    program = (
        "import sys, agentprm_dagster.envs.textworld.kind; "
        "sys.exit(' '.join({'textworld', 'jericho', 'numpy', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stderr.strip() == ""
