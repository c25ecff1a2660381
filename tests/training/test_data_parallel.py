"""The three trainings give the same weights however they are computed: in processes, in pieces, in other types."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.utils import parameters_to_vector
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.config import Prm, Sft
from agentprm_dagster.config.compute import TrainingCompute
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.lean_layers import use_lean_layers
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.improvement.branched_states import branched_states
from agentprm_dagster.improvement.consequences import Consequences
from agentprm_dagster.improvement.dpo_settings import Settings as Improvement
from agentprm_dagster.improvement.judging import Judge
from agentprm_dagster.improvement.online_dpo import improve
from agentprm_dagster.launch import shards
from agentprm_dagster.launch.job import Job
from agentprm_dagster.training import prm_examples, sft, tree_training

Train = Callable[..., PreTrainedModel]
"""Takes how it is computed, and the type of its products."""


def job(compute: dict[str, Any]) -> Job:
    return Job(seed=0, compute=TrainingCompute(**compute))


@pytest.fixture(params=["sft", "prm", "policy improvement"])
def train(
    request: pytest.FixtureRequest,
    taught_folder: Path,
    demonstrations: list[Episode],
    rollouts: list[Episode],
    household_games: list[PlayableGame],
) -> Train:
    """One of the trainings, from its start."""
    tokenizer = checkpoints.load_tokenizer(taught_folder)
    chat = Chat(tokenizer, WORDING)

    def ready(model: PreTrainedModel) -> PreTrainedModel:
        use_grouped_attention(model)
        use_lean_layers(model)
        return model

    def fine_tune(dtype: torch.dtype = torch.float32, **compute: Any) -> PreTrainedModel:
        model = ready(checkpoints.load_policy(taught_folder))
        rows = sft.sft_rows(demonstrations[:7], chat)
        sft.fit(model, rows, Sft(epochs=1, batch_episodes=3), job(compute), dtype)
        return model

    def train_prm(dtype: torch.dtype = torch.float32, **compute: Any) -> PreTrainedModel:
        model = ready(checkpoints.prm_from_policy(taught_folder, seed=0))
        targets = mc_value_targets(rollouts, gamma=0.9, held_out_games=0, seed=0)
        examples = prm_examples.prm_examples(chat, rollouts, targets, "append", branch_turns=1, read_replies=True)
        plan = Prm(epochs=3, batch_tokens=3000)
        tree_training.fit(model, examples, prm_examples.loss_terms, plan, job(compute), dtype=dtype)
        return model

    def improved(dtype: torch.dtype = torch.float32, **compute: Any) -> PreTrainedModel:
        model = ready(checkpoints.load_policy(taught_folder)).eval()
        critic = ready(checkpoints.prm_from_policy(taught_folder, seed=1)).eval()
        branched = branched_states(rollouts)
        prefixes = [prefix for episode, turns in branched for prefix in chat.conversations(episode, "append", turns)]
        plan = Improvement(steps=2, episodes_per_step=6, states_per_episode=2, min_gap=0, rank_by="reply")
        judge = Judge(critic, chat, Consequences(chat, {game.id: game for game in household_games}))
        reference = copy.deepcopy(model).requires_grad_(False)
        improve(model, reference, judge, chat, prefixes, plan, job=job(compute), dtype=dtype)
        return model

    made: Train = {"sft": fine_tune, "prm": train_prm, "policy improvement": improved}[request.param]
    return made


def test_processes_do_not_change_a_bit(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_WORTH_A_PROCESS", 0)
    started: list[object] = []
    begin = shards._Elsewhere.__init__

    def counted(self: shards._Elsewhere, *arguments: object) -> None:
        started.append(self)
        begin(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(shards._Elsewhere, "__init__", counted)
    made = {}
    for number in (1, 2):
        monkeypatch.setattr(shards, "cores", lambda number=number: number)
        made[number] = train()
        assert len(started) == number - 1
    for (name, one), other in zip(made[1].named_parameters(), made[2].parameters(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("compute", [{"micro_batch_tokens": 300}, {"activation_checkpointing": True}])
def test_memory_is_saved_and_the_weights_are_the_same(train: Train, compute: dict[str, Any]) -> None:
    """But for rounding."""
    for (name, one), other in zip(train().named_parameters(), train(**compute).parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4, msg=name)


def test_products_in_bfloat16_train_weights_in_float32(train: Train, taught_folder: Path) -> None:
    before, plain, low = (
        parameters_to_vector(model.base_model.parameters()).detach()
        for model in (checkpoints.load_policy(taught_folder), train(), train(dtype=torch.bfloat16))
    )
    assert low.dtype == torch.float32
    assert float(torch.cosine_similarity(plain - before, low - before, dim=0)) > 0.6
    assert not torch.equal(plain, low)
