"""Steered exploration: other answers are drawn, and are scored and learnt behind the nominal prompt."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.envs.alfworld.hypotheses import with_hypothesis
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.tasks import parse_task
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.improvement.dpo_settings import Settings as Improvement
from agentprm_dagster.improvement.judging import Judge
from agentprm_dagster.improvement.online_dpo import improve
from agentprm_dagster.improvement.steered_sampling import HYPOTHESIS_ROOM, SteeredSampler
from agentprm_dagster.launch.job import Job
from agentprm_dagster.training.candidates import Candidate, CandidateSampler

NEW, N = 16, 4


@pytest.fixture(scope="module")
def model(taught_folder: Path) -> PreTrainedModel:
    loaded = checkpoints.load_policy(taught_folder).eval()
    use_grouped_attention(loaded)
    return loaded


@pytest.fixture(scope="module")
def chat(taught_folder: Path) -> Chat:
    return Chat(checkpoints.load_tokenizer(taught_folder), WORDING)


@pytest.fixture(scope="module")
def prefixes(chat: Chat, demonstrations: list[Episode]) -> list[EpisodeTokens]:
    return [chat.conversations(episode)[0] for episode in demonstrations[:3]]


def sampler_for(model: PreTrainedModel, chat: Chat, prefixes: list[EpisodeTokens]) -> CandidateSampler:
    longest = max(prefix.states[-1] for prefix in prefixes) + HYPOTHESIS_ROOM
    states = max(len(prefix.states) for prefix in prefixes)
    return CandidateSampler(model, chat, longest=longest, rows=2 * len(prefixes), states=states, n=N, new=NEW)


def drawn(
    model: PreTrainedModel, chat: Chat, prefixes: list[EpisodeTokens], share: float, temperature: float = 1.0
) -> tuple[list[Candidate], list[EpisodeTokens]]:
    steered = SteeredSampler(sampler_for(model, chat, prefixes), with_hypothesis, share=share, dialogue="append")
    return steered.draw(prefixes, temperature=temperature, seed=0)


def test_a_hypothesis_names_a_receptacle_of_the_room_and_leaves_the_task(
    chat: Chat, demonstrations: list[Episode]
) -> None:
    first = demonstrations[0].first_observation
    rng = random.Random(0)
    told = [with_hypothesis(first, rng) for _ in range(40)]
    assert len(set(told)) > 3, "strategies vary"
    for each in told:
        assert parse_task(each) == parse_task(first)
        hypothesis = each[len(first.partition("\n\nYour task is to: ")[0]) :].partition("\n")[0]
        assert hypothesis.removeprefix(" I look at ").removesuffix(".") in first
        assert each.replace(hypothesis, "", 1) == first
        ids = chat.tokenizer.encode(hypothesis, add_special_tokens=False)
        assert chat.tokenizer.unk_token_id not in ids, "in words that a small model reads"
        assert len(ids) < HYPOTHESIS_ROOM
    assert with_hypothesis("Your task is to: put a mug in shelf.", rng) == "Your task is to: put a mug in shelf."


def test_every_state_is_answered_as_often_under_one_prompt_or_the_other(
    model: PreTrainedModel, chat: Chat, prefixes: list[EpisodeTokens]
) -> None:
    candidates, read = drawn(model, chat, prefixes, 0.5, temperature=2.0)
    draws = Counter[tuple[int, int]]()
    for candidate in candidates:
        draws[candidate.state] += candidate.draws
    assert draws == dict.fromkeys(((i, j) for i, prefix in enumerate(prefixes) for j in range(len(prefix.states))), N)
    nominal = [each for each in read if each.episode in [prefix.episode for prefix in prefixes]]
    assert 0 < len(nominal) < len(read)
    assert sum(len(each.states) for each in read) == sum(len(prefix.states) for prefix in prefixes)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_answers_are_those_of_the_prompt_that_was_read(
    model: PreTrainedModel, chat: Chat, prefixes: list[EpisodeTokens], share: float
) -> None:
    """Greedy, so that nothing but the prompt decides."""
    candidates, read = drawn(model, chat, prefixes, share, temperature=0)
    assert len(read) == len(prefixes)
    if share == 0:
        assert [each.prompt for each in read] == [prefix.prompt for prefix in prefixes]
    else:
        assert all("I look at" in each.episode.first_observation for each in read)
    plain = sampler_for(model, chat, prefixes).draw(read, temperature=0, seed=0)
    assert candidates == plain, "each state is its own"


def test_restated_states_are_steered_one_by_one(
    model: PreTrainedModel, chat: Chat, demonstrations: list[Episode]
) -> None:
    episode = demonstrations[0]
    turns = tuple(replace(turn, candidates=("look",)) for turn in episode.turns[:2])
    prefixes = chat.conversations(replace(episode, turns=turns), "restated", [0, 1])
    steered = SteeredSampler(sampler_for(model, chat, prefixes), with_hypothesis, share=1.0, dialogue="restated")
    candidates, read = steered.draw(prefixes, temperature=0, seed=0)
    assert {candidate.state for candidate in candidates} == {(0, 0), (1, 0)}
    assert all("I look at" in chat.decode(each.ids) for each in read)


def test_the_policy_learns_behind_the_nominal_prompt(
    taught_folder: Path, chat: Chat, prefixes: list[EpisodeTokens], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trees that are scored hold no hypothesis; the same seed takes the same steps."""
    judged: list[EpisodeTokens] = []
    values = Judge.values

    def watched(judge: Judge, read: list[EpisodeTokens], *rest: Any) -> tuple[torch.Tensor, int]:
        judged.extend(read)
        return values(judge, read, *rest)

    monkeypatch.setattr(Judge, "values", watched)
    plan = Improvement(steps=2, episodes_per_step=3, states_per_episode=4, temperature=1.5, min_gap=0, steered=0.5)

    def steps(plan: Improvement) -> list[dict[str, float]]:
        policy, reference = (checkpoints.load_policy(taught_folder) for _ in range(2))
        prm = checkpoints.prm_from_policy(taught_folder, seed=1).eval()
        for each in (policy, reference, prm):
            use_grouped_attention(each)
        judge = Judge(prm, chat)
        return improve(
            policy,
            reference,
            judge,
            chat,
            prefixes,
            plan,
            with_hypothesis=with_hypothesis,
            job=Job(seed=0),
        )

    once = steps(plan)
    assert steps(plan) == once
    assert judged
    assert {each.episode.first_observation for each in judged} <= {each.episode.first_observation for each in prefixes}
    nominal = steps(plan.model_copy(update={"steered": 0.0}))
    assert once[0]["tokens"] != nominal[0]["tokens"], "other prompts were read"
    assert all(step["pairs"] > 0 for step in once)
