"""Policy improvement: a policy that learns what its critic likes, from the right states."""

import copy
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.improvement import online_dpo
from agentprm_dagster.improvement.dpo_settings import Settings as Improvement
from agentprm_dagster.improvement.online_dpo import improve_policy
from agentprm_dagster.launch.job import Job
from agentprm_dagster.training.candidates import CandidateSampler


@pytest.fixture(scope="module")
def chat(taught_folder: Path) -> Chat:
    return Chat(checkpoints.load_tokenizer(taught_folder), WORDING)


@pytest.fixture(scope="module")
def liked(chat: Chat) -> int:
    """The token that says "take"."""
    (liked,) = (i for i in chat.answer("REASON: Here is mug 1.\nACTION: take mug 1") if "take" in chat.decode([i]))
    return liked


def all_of(chat: Chat, episode: Episode) -> EpisodeTokens:
    """All states of an episode."""
    return chat.conversations(episode)[0]


class Taste(nn.Module):
    """A critic whose logit of an answer is whether it holds one token: hidden states are counts of it so far."""

    def __init__(self, liked: int) -> None:
        super().__init__()
        self.liked, self.score = liked, nn.Identity()
        self.device, self.dtype, self.config = torch.device("cpu"), torch.float32, LlamaConfig()

    @property
    def base_model(self) -> Callable[..., SimpleNamespace]:
        return self.read

    def read(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: object) -> SimpleNamespace:
        held = (attention_mask[:, 0] == 0).float() @ (input_ids == self.liked).float()[..., None]
        return SimpleNamespace(last_hidden_state=held)


def improve(
    taught_folder: Path, chat: Chat, episodes: list[Episode], critic: Any, **settings: Any
) -> tuple[PreTrainedModel, list[dict[str, float]]]:
    model = checkpoints.load_policy(taught_folder)
    use_grouped_attention(model)
    prefixes = [all_of(chat, episode) for episode in episodes]
    few = {"steps": 15, "episodes_per_step": 3, "learning_rate": 3e-3, "min_gap": 1e-4, "max_new_tokens": 24}
    plan = Improvement(**{**few, **settings})
    judge: Any = SimpleNamespace(values=lambda _, __, trees: (trees.values(critic).sigmoid(), trees.tokens_read))
    numbers = online_dpo.improve(model, copy.deepcopy(model), judge, chat, prefixes, plan, job=Job(seed=0))
    return model, numbers


def share_with(liked: int, model: PreTrainedModel, chat: Chat, episodes: list[Episode]) -> float:
    """How many of the answers drawn along some episodes hold a token."""
    prefixes = [all_of(chat, episode) for episode in episodes]
    sampler = CandidateSampler.of_any(prefixes, model, chat, n=8, new=24)
    drawn = sampler.draw(prefixes, temperature=1.0, seed=0)
    return sum(c.draws for c in drawn if liked in c.ids) / sum(c.draws for c in drawn)


def test_it_learns_what_its_critic_likes(
    taught_folder: Path, chat: Chat, demonstrations: list[Episode], liked: int
) -> None:
    episodes = demonstrations[:8]
    before = checkpoints.load_policy(taught_folder)
    use_grouped_attention(before)
    after, numbers = improve(taught_folder, chat, episodes, Taste(liked), temperature=1.5, kl_weight=0.0)
    first, last = numbers[:5], numbers[-5:]

    def mean(steps: list[dict[str, float]], name: str) -> float:
        return sum(step[name] for step in steps) / len(steps)

    assert numbers[0]["kl"] == pytest.approx(0, abs=1e-4), "it starts at its reference"
    assert mean(last, "kl") > 0
    assert mean(last, "pair_accuracy") > max(mean(first, "pair_accuracy"), 0.7)
    assert share_with(liked, after, chat, episodes) > share_with(liked, before, chat, episodes) + 0.1


def test_the_kl_term_keeps_it_near_its_reference(
    taught_folder: Path, chat: Chat, demonstrations: list[Episode], liked: int
) -> None:
    def went(weight: float) -> float:
        _, numbers = improve(
            taught_folder, chat, demonstrations[:4], Taste(liked), steps=10, temperature=2.0, kl_weight=weight
        )
        return numbers[-1]["kl"]

    assert went(10.0) < went(0.0) / 2


def test_where_the_critic_has_no_opinion_nothing_is_learnt(
    taught_folder: Path, chat: Chat, demonstrations: list[Episode]
) -> None:
    model, numbers = improve(taught_folder, chat, demonstrations[:4], Taste(liked=0), steps=2)
    assert [step["pairs"] for step in numbers] == [0.0, 0.0]
    assert not any({"loss", "pair_accuracy", "gap"} & step.keys() for step in numbers), "there is nothing to tell"
    before = checkpoints.load_policy(taught_folder)
    for mine, old in zip(model.parameters(), before.parameters(), strict=True):
        assert torch.equal(mine, old)


def test_every_episode_is_learnt_from_before_any_comes_again(chat: Chat, demonstrations: list[Episode]) -> None:
    prefixes = [all_of(chat, episode) for episode in demonstrations[:7]]
    settings = Improvement(episodes_per_step=2, states_per_episode=3)
    size = online_dpo._batch_size(settings, "append")
    for epoch in range(2):
        batches = online_dpo._batches(prefixes, *size, random.Random(epoch))
        assert [len(batch) for batch in batches] == [2, 2, 2, 1]
        seen = [prefix for batch in batches for prefix in batch]
        assert len(seen) == 7
        for prefix in prefixes:
            (some,) = [s for s in seen if prefix.ids[: len(s.ids)] == s.ids and set(s.states) <= set(prefix.states)]
            assert len(some.states) == min(3, len(prefix.states))
            assert len(some.ids) == some.answers[-1][1]
            assert [prefix.states[turn] for turn in some.turns] == some.states
            assert some.episode is prefix.episode


def test_both_formats_have_as_many_states_at_most(chat: Chat, demonstrations: list[Episode]) -> None:
    settings = Improvement(episodes_per_step=3, states_per_episode=2)
    expected: dict[Format, int] = {"append": 3, "restated": 6}
    for dialogue, count in expected.items():
        there = [prefix for episode in demonstrations[:6] for prefix in chat.conversations(episode, dialogue)]
        size = online_dpo._batch_size(settings, dialogue)
        batch, *_ = online_dpo._batches(there, *size, random.Random(0))
        assert len(batch) == count
        assert sum(len(prefix.states) for prefix in batch) == 6


def improved(
    taught_folder: Path,
    episodes: list[Episode],
    folder: Path,
    *,
    games: Sequence[PlayableGame] = (),
    dialogue: Format = "append",
    **settings: Any,
) -> tuple[StageReport, Path]:
    prm = folder / "prm"
    checkpoints.save(checkpoints.prm_from_policy(taught_folder, seed=2), checkpoints.load_tokenizer(taught_folder), prm)
    plan = Improvement(**{"steps": 2, "episodes_per_step": 1, "temperature": 2.0, "min_gap": 0, **settings})
    how: dict[str, Any] = {"dialogue": dialogue, "centred": False, "max_kl": 20.0, "job": Job(seed=0)}
    out = folder / "out"
    by_id = {game.id: game for game in games}
    report = improve_policy(taught_folder, prm, episodes, by_id, KIND, plan, out, **how)
    return report, out


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_improved_policy_is_an_ordinary_checkpoint_with_every_parameter_moved(
    taught_folder: Path, rollouts: list[Episode], tmp_path: Path, optimizer: str
) -> None:
    report, out = improved(taught_folder, rollouts, tmp_path, optimizer=optimizer, steps=4, episodes_per_step=4)
    assert {gate.name: gate.passed for gate in report.gates} == {
        "policy_finite": True,
        "kl_budget": True,
        "pairs_to_learn_from": True,
    }
    model, before = AutoModelForCausalLM.from_pretrained(out), checkpoints.load_policy(taught_folder)
    for (name, parameter), old in zip(model.named_parameters(), before.parameters(), strict=True):
        assert not torch.equal(parameter, old), name
    assert checkpoints.load_tokenizer(out).chat_template == checkpoints.load_tokenizer(taught_folder).chat_template


def test_the_same_seed_gives_the_same_policy(taught_folder: Path, rollouts: list[Episode], tmp_path: Path) -> None:
    weights = []
    for name in ("1", "2"):
        _, out = improved(taught_folder, rollouts, tmp_path / name)
        weights.append((out / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_where_turns_restate_the_history_a_step_has_as_many_states(
    taught_folder: Path, rollouts: list[Episode], tmp_path: Path
) -> None:
    report, _ = improved(
        taught_folder, rollouts, tmp_path, dialogue="restated", episodes_per_step=2, states_per_episode=3
    )
    assert (report.metrics["steps"], report.metrics["states"]) == (2, 2 * 6)


def test_candidates_may_be_ranked_by_their_replies(
    taught_folder: Path, household_games: list[PlayableGame], rollouts: list[Episode], tmp_path: Path
) -> None:
    by_answer, _ = improved(taught_folder, rollouts, tmp_path / "answer")
    by_reply, _ = improved(taught_folder, rollouts, tmp_path / "reply", games=household_games, rank_by="reply")
    assert all(gate.passed for gate in by_reply.gates)
    assert by_reply.metrics["value_first"] != by_answer.metrics["value_first"], "the same candidates, read elsewhere"
    assert by_reply.metrics["tokens"] > by_answer.metrics["tokens"], "the replies are read too"
    assert 0 < by_answer.metrics["trained_tokens"] < by_answer.metrics["tokens"] / 3, "PRM, reference and sampling read"


def test_ranking_by_replies_needs_the_games(taught_folder: Path, rollouts: list[Episode], tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        improved(taught_folder, rollouts, tmp_path, rank_by="reply")
