"""A model of bfloat16 stays one through all trainings: half the bytes, and every engine reads it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from agentprm_dagster.config import Model
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.embedded.kind import load
from agentprm_dagster.engine.kinds import engine_kind
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode
from all_trainings import ROLES, train_all

MODEL = Model(hidden_size=32, layers=1, heads=2, intermediate_size=32, dtype="bfloat16")


@pytest.fixture(scope="module")
def trained(
    demonstrations: list[Episode],
    rollouts: list[Episode],
    household_games: list[PlayableGame],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    return train_all(MODEL, demonstrations[:6], rollouts, household_games, tmp_path_factory.mktemp("bfloat16"))


@pytest.mark.parametrize("name", ROLES)
def test_checkpoints_are_stored_in_it(trained: dict[str, Path], name: str) -> None:
    assert json.loads((trained[name] / "config.json").read_text())["dtype"] == "bfloat16"
    with safe_open(trained[name] / "model.safetensors", "pt") as weights:
        assert {weights.get_tensor(key).dtype for key in weights.keys()} == {torch.bfloat16}  # noqa: SIM118


@pytest.mark.parametrize("name", ROLES)
def test_small_models_on_a_cpu_are_computed_in_float32(trained: dict[str, Path], name: str) -> None:
    """bfloat16 is emulated by many processors."""
    assert load(trained[name], ROLES[name], engine_kind("embedded").Settings()).dtype == torch.float32


def test_it_is_the_checkpoints_own(trained: dict[str, Path], policy_folder: Path) -> None:
    assert checkpoints.stored_dtype(trained["pi_0"]) == torch.bfloat16
    assert checkpoints.stored_dtype(policy_folder) == torch.float32
