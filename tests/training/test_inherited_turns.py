"""What an episode from an expert's state inherits is read and never learnt: PRM, InversePRM, policy improvement."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.improvement.branched_states import branched_states
from agentprm_dagster.launch.job import Job
from agentprm_dagster.training.inverse_prm import next_answers, own_transitions, transitions
from agentprm_dagster.training.prm_examples import prm_examples

START = 2


@pytest.fixture(scope="module")
def chat(tokenizer: PreTrainedTokenizerFast) -> Chat:
    return Chat(tokenizer, WORDING)


@pytest.fixture(scope="module")
def reset(demonstrations: list[Episode]) -> Episode:
    """Its first turns stand for an expert's."""
    return replace(max(demonstrations[:12], key=lambda episode: len(episode.turns)), start=START)


@pytest.fixture(scope="module")
def own_ends(chat: Chat, reset: Episode) -> list[int]:
    """Where its own answers end in the whole conversation."""
    return [end - 1 for _, end in chat.conversations(reset)[0].answers[START:]]


def test_the_prm_learns_the_values_of_own_turns(chat: Chat, reset: Episode, own_ends: list[int]) -> None:
    branch = replace(reset, episode_id="branch", start=START + 1, parent=reset.episode_id)
    family = [reset, branch]
    targets = mc_value_targets(family, gamma=0.9, held_out_games=0, seed=0)
    (example,) = prm_examples(chat, family, targets, "append", branch_turns=1, read_replies=True)
    read = [(targets["episode_id"][row], targets["turn"][row]) for row in example.rows]
    own = [(reset.episode_id, t) for t in range(START, len(reset.turns))]
    assert read == [*own, ("branch", START + 1)]
    assert example.ends[:-1] == own_ends, "the expert's turns stand before them in the tree"
    restated = prm_examples(chat, family, targets, "restated", branch_turns=1, read_replies=False)
    assert sorted(row for each in restated for row in each.rows) == sorted(example.rows)


def test_own_turns_alone_are_transitions(chat: Chat, reset: Episode, own_ends: list[int]) -> None:
    for dialogue in ("append", "restated"):
        made = [transitions(chat, reset, dialogue, {}, expert=False), own_transitions(chat, [reset], dialogue)]
        assert [sum(len(each.ends) for each in several) for several in made] == [len(own_ends)] * 2
        if dialogue == "append":
            assert [several[0].ends for several in made] == [own_ends] * 2


def test_answers_are_drawn_behind_own_turns_alone(taught_folder: Path, chat: Chat, reset: Episode) -> None:
    how: dict[str, Any] = {"n": 2, "temperature": 1.0, "max_new_tokens": 16, "job": Job(seed=0)}
    (after,) = next_answers(taught_folder, chat, [reset], "append", **how)
    assert sorted(after) == list(range(START + 1, len(reset.turns)))


def test_the_policy_is_improved_in_its_own_states(reset: Episode) -> None:
    assert branched_states([reset]) == [(reset, list(range(START, len(reset.turns))))]
    assert branched_states([replace(reset, start=len(reset.turns))]) == []
