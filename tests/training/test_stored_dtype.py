"""A model of bfloat16 stays one through all trainings: half the bytes, and every engine reads it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.config import InversePrm, Model, Prm, Sft, WorldModel
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.base import Role
from agentprm_dagster.engine.embedded.kind import load
from agentprm_dagster.engine.kinds import engine_kind
from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.improvement.dpo_settings import Settings as Dpo
from agentprm_dagster.improvement.online_dpo import improve_policy
from agentprm_dagster.launch.job import Job
from agentprm_dagster.training.inverse_prm import train_inverse_prm
from agentprm_dagster.training.process_reward_model import train_prm
from agentprm_dagster.training.sft import train_initial_policy
from agentprm_dagster.training.world_model import train_world_model

MODEL = Model(hidden_size=32, layers=1, heads=2, intermediate_size=32, dtype="bfloat16")
ROLES: dict[str, Role] = {"pi_0": "policy", "prm": "prm", "inverse": "prm", "world": "policy", "pi_1": "policy"}


@pytest.fixture(scope="module")
def trained(
    demonstrations: list[Episode],
    rollouts: list[Episode],
    household_games: list[PlayableGame],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    root, job = tmp_path_factory.mktemp("bfloat16"), Job(seed=0)
    folders = {name: root / name for name in ROLES}
    for folder in folders.values():
        folder.mkdir()
    pi_0, games = folders["pi_0"], {game.id: game for game in household_games}
    held_out = {demonstrations[0].game}
    train_initial_policy(demonstrations[:6], [], MODEL, Sft(epochs=1), WORDING, pi_0, dialogue="append", job=job)
    targets = mc_value_targets(rollouts, gamma=0.9, held_out_games=0.3, seed=0)
    how: dict[str, Any] = {"dialogue": "append", "job": job}
    train_prm(*(pi_0, rollouts, targets, Prm(epochs=1), WORDING, folders["prm"]), max_loss=9.0, min_ordering=0.0, **how)
    train_inverse_prm(
        *(pi_0, demonstrations[:4], [], rollouts, InversePrm(epochs=1), WORDING, folders["inverse"]),
        **{**how, "temperature": 1.0, "max_new_tokens": 4, "held_out": held_out},
    )
    train_world_model(
        *(pi_0, demonstrations[:6], rollouts, WorldModel(epochs=1), WORDING, folders["world"]),
        min_exact=0.0,
        held_out=held_out,
        job=job,
    )
    brief = Dpo(steps=2, episodes_per_step=3, states_per_episode=2, min_gap=0, max_new_tokens=4)
    improve_policy(
        *(pi_0, folders["prm"], rollouts, games, KIND, brief, folders["pi_1"]), centred=False, max_kl=99.0, **how
    )
    return folders


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
