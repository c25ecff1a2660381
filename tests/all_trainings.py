"""Every training once, each from what the one before has made."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.config import InversePrm, Model, Prm, Sft, WorldModel
from agentprm_dagster.engine.base import Role
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

ROLES: Mapping[str, Role] = {
    "pi_0": "policy", "prm": "prm", "inverse": "prm", "world": "policy", "pi_1": "policy", "base_prm": "prm"
}  # fmt: skip
BRIEF: dict[str, Any] = {"epochs": 3, "optimizer": "adamw"}
DPO = Dpo(steps=3, episodes_per_step=6, states_per_episode=4, min_gap=0, temperature=2.0)


def train_all(
    model: Model, shown: Sequence[Episode], rollouts: Sequence[Episode], games: Sequence[PlayableGame], root: Path
) -> dict[str, Path]:
    """The checkpoints, by what they are; `base_prm` begins at the pretrained model, where there is one."""
    folders = {name: root / name for name in ROLES}
    for folder in folders.values():
        folder.mkdir()
    job, held_out, pi_0 = Job(seed=0), {shown[0].game}, folders["pi_0"]
    train_initial_policy(shown, [], model, Sft(**BRIEF), WORDING, pi_0, dialogue="append", job=job)
    targets = mc_value_targets(rollouts, gamma=0.9, held_out_games=0.3, seed=0)
    how: dict[str, Any] = {"dialogue": "append", "job": job}
    for name, base in (("prm", None), ("base_prm", model if model.name != "embedded" else None)):
        where = {**how, "base": base, "max_loss": 9.0, "min_ordering": 0.0, "job": Job(seed=1)}
        train_prm(pi_0, rollouts, targets, Prm(**BRIEF), WORDING, folders[name], **where)
    train_inverse_prm(
        *(pi_0, shown[:4], [], rollouts, InversePrm(**BRIEF), WORDING, folders["inverse"]),
        **{**how, "temperature": 1.0, "max_new_tokens": 4, "held_out": held_out},
    )
    train_world_model(
        *(pi_0, shown, rollouts, WorldModel(**BRIEF), WORDING, folders["world"]),
        min_exact=0.0,
        held_out=held_out,
        job=job,
    )
    by_id = {game.id: game for game in games}
    improve_policy(
        *(pi_0, folders["prm"], rollouts, by_id, KIND, DPO, folders["pi_1"]), centred=False, max_kl=99.0, **how
    )
    return folders
