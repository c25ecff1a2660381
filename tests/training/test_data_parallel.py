"""The three trainings give the same weights to the last bit, whether or not their shards have their own processes."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.config import Prm, Sft
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.lean_layers import use_lean_layers
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.improvement.branched_states import branched_states
from agentprm_dagster.improvement.consequences import Consequences
from agentprm_dagster.improvement.dpo_settings import Settings as Improvement
from agentprm_dagster.improvement.judging import Judge
from agentprm_dagster.improvement.online_dpo import improve
from agentprm_dagster.launch import shards
from agentprm_dagster.training import prm_examples, sft, tree_training

Train = Callable[[], PreTrainedModel]


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

    def fine_tune() -> PreTrainedModel:
        model = ready(checkpoints.load_policy(taught_folder))
        rows = sft.sft_rows(demonstrations[:7], chat)
        sft.fit(model, rows, Sft(epochs=1, batch_episodes=3), seed=0, monitor=SilentMonitor())
        return model

    def train_prm() -> PreTrainedModel:
        model = ready(checkpoints.prm_from_policy(taught_folder, seed=0))
        targets = mc_value_targets(rollouts, gamma=0.9, held_out_games=0, seed=0)
        examples = prm_examples.prm_examples(chat, rollouts, targets, "append", branch_turns=1, read_replies=True)
        plan = Prm(epochs=1, batch_tokens=3000)
        tree_training.fit(model, examples, prm_examples.loss_terms, plan, seed=0, monitor=SilentMonitor())
        return model

    def improved() -> PreTrainedModel:
        model = ready(checkpoints.load_policy(taught_folder)).eval()
        critic = ready(checkpoints.prm_from_policy(taught_folder, seed=1)).eval()
        branched = branched_states(rollouts)
        prefixes = [prefix for episode, turns in branched for prefix in chat.conversations(episode, "append", turns)]
        plan = Improvement(steps=2, episodes_per_step=6, states_per_episode=2, min_gap=0, rank_by="reply")
        judge = Judge(critic, chat, Consequences(chat, {game.id: game for game in household_games}))
        reference = copy.deepcopy(model).requires_grad_(False)
        improve(model, reference, judge, chat, prefixes, plan, seed=0, monitor=SilentMonitor())
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
