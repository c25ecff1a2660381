"""InversePRM against its equations by hand and the standard head on each prefix; no outcome is read."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.algorithm.terms import loss_of
from agentprm_dagster.config import InversePrm
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.unrewarded import without_outcomes
from agentprm_dagster.launch.job import Job
from agentprm_dagster.training.candidates import Candidate
from agentprm_dagster.training.episode_trees import families
from agentprm_dagster.training.inverse_prm import (
    NextAnswers,
    Transitions,
    balanced,
    inverse_prm_term,
    next_answers,
    own_transitions,
    rewards_of,
    score_decisions,
    train_inverse_prm,
    transitions,
)

GAMMA = 0.9
SETTINGS = InversePrm(epochs=10, learning_rate=3e-3, batch_tokens=4096, gamma=GAMMA)
ANSWERS: dict[str, Any] = {"temperature": 1.0, "max_new_tokens": 16, "job": Job(seed=0)}


@pytest.fixture(scope="module")
def chat(tokenizer: PreTrainedTokenizerFast) -> Chat:
    return Chat(tokenizer, WORDING)


@pytest.fixture(scope="module")
def prm(policy_folder: Path) -> PreTrainedModel:
    model = checkpoints.prm_from_policy(policy_folder, seed=0).eval()
    use_grouped_attention(model)
    return model


@pytest.fixture(scope="module")
def learners(rollouts: list[Episode]) -> list[Episode]:
    return [episode for episode in rollouts if episode.parent is None]


def answers(chat: Chat, episode: Episode) -> NextAnswers:
    """Before every turn but the first, one answer drawn three times and another drawn once."""
    said = [(tuple(chat.answer(text)), draws) for text, draws in (("REASON: a\nACTION: look", 3), ("ACTION: help", 1))]
    return {t: [Candidate((0, t), ids, draws) for ids, draws in said] for t in range(1, len(episode.turns))}


def by_hand(
    stock: PreTrainedModel, chat: Chat, episode: Episode, t: int, after: NextAnswers, dialogue: Format
) -> float:
    """Eq. 8 of one transition, every sequence read for itself."""

    def q(ids: list[int]) -> float:
        with torch.no_grad():
            return float(stock(torch.tensor([ids])).logits)

    (own,) = chat.conversations(episode, dialogue, [t])
    if t == len(episode.turns) - 1:
        return q(own.ids)
    (following,) = chat.conversations(episode, dialogue, [t + 1])
    first, second = (q([*following.prompt, *answer.ids]) for answer in after[t + 1])
    return q(own.ids) - GAMMA * (0.75 * first + 0.25 * second)


@pytest.mark.parametrize("dialogue", ["append", "restated"])
def test_rewards_are_eq_8_of_the_standard_head(
    prm: PreTrainedModel, policy_folder: Path, chat: Chat, learners: list[Episode], dialogue: Format
) -> None:
    stock = checkpoints.prm_from_policy(policy_folder, seed=0).eval()
    some = [replace(episode, turns=episode.turns[:3]) for episode in learners[:2]]
    made = [
        each for episode in some for each in transitions(chat, episode, dialogue, answers(chat, episode), expert=False)
    ]
    with torch.no_grad():
        rewards = rewards_of(prm, made, GAMMA)
    expected = [
        by_hand(stock, chat, episode, t, answers(chat, episode), dialogue)
        for episode in some
        for t in range(len(episode.turns))
    ]
    assert rewards.tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("dialogue", ["append", "restated"])
def test_where_the_policy_acted_itself_its_next_answer_is_the_second_term(
    prm: PreTrainedModel, policy_folder: Path, chat: Chat, rollouts: list[Episode], dialogue: Format
) -> None:
    """Of a branch the first turn is a transition, and its second, if there is one, what comes after."""
    family = max(families(rollouts), key=lambda family: len({each.own_turns[0].response for each in family[1:]}))
    made = own_transitions(chat, without_outcomes(family), dialogue)
    with torch.no_grad():
        rewards = sorted(rewards_of(prm, made, GAMMA).tolist())
    stock = checkpoints.prm_from_policy(policy_folder, seed=0).eval()

    def q(episode: Episode, t: int) -> float:
        (read,) = chat.conversations(episode, dialogue, [t])
        with torch.no_grad():
            return float(stock(torch.tensor([read.ids])).logits)

    once = {(each.parent, each.start, *(turn.response for turn in each.own_turns[:2])): each for each in family[1:]}
    of = [(family[0], t) for t in range(len(family[0].turns))]
    of += [(each, each.start) for each in (once.values() if dialogue == "append" else family[1:])]
    expected = [q(episode, t) - (GAMMA * q(episode, t + 1) if t + 1 < len(episode.turns) else 0.0) for episode, t in of]
    assert len(expected) > len(family[0].turns) + 1
    assert rewards == pytest.approx(sorted(expected), abs=1e-5)


@pytest.mark.parametrize("dialogue", ["append", "restated"])
@pytest.mark.parametrize("expert", [True, False])
def test_the_last_turn_of_what_was_broken_off_is_no_transition(
    prm: PreTrainedModel, chat: Chat, learners: list[Episode], dialogue: Format, expert: bool
) -> None:
    """Only a game's end is a state behind which nothing is; all turns before are as they are."""
    ended = max(learners, key=lambda episode: len(episode.turns))
    after = answers(chat, ended)
    with torch.no_grad():
        whole, cut = (
            rewards_of(prm, transitions(chat, episode, dialogue, after, expert=expert), GAMMA)
            for episode in (ended, replace(ended, truncated=True))
        )
    assert len(cut) == len(whole) - 1 == len(ended.turns) - 1
    torch.testing.assert_close(cut, whole[:-1])


@pytest.mark.parametrize("dialogue", ["append", "restated"])
def test_so_it_is_of_the_policys_own_episodes_and_their_branches(
    prm: PreTrainedModel, chat: Chat, learners: list[Episode], dialogue: Format
) -> None:
    parent = replace(learners[0], turns=learners[0].turns[:3])
    other = replace(parent.turns[1], response="REASON: a\nACTION: look")
    once = replace(parent, episode_id="once", parent=parent.episode_id, start=1, turns=(parent.turns[0], other))
    again = replace(once, episode_id="again", turns=(parent.turns[0], parent.turns[2], other))
    cut = {each.episode_id: replace(each, truncated=True) for each in (parent, once, again)}

    def rewards(*family: Episode) -> list[float]:
        with torch.no_grad():
            return sorted(rewards_of(prm, own_transitions(chat, family, dialogue), GAMMA).tolist())

    def left_out(family: list[Episode], *fewer: Episode) -> list[float]:
        more = rewards(*family)
        for reward in rewards(*fewer):
            more.remove(min(more, key=lambda each: abs(each - reward)))
        return more

    family = [parent, once, again]
    assert len(rewards(*family)) == 3 + 1 + 1
    assert len(left_out(family, cut[parent.episode_id], once, again)) == 1, "the last of three"
    assert len(left_out(family, parent, cut["once"], again)) == 1, "the only one"
    assert not left_out(family, parent, once, cut["again"]), "its first has a second behind it"
    assert len(rewards(*cut.values())) == 2 + 0 + 1


def test_the_loss_by_hand() -> None:
    """Three learner transitions and one of the expert: each side half."""
    learner, expert = Transitions(False, ends=[0, 0, 0]), Transitions(True, ends=[0])
    some = balanced([learner, expert])
    assert [example.weight for example in some] == [pytest.approx(4 / 6), pytest.approx(4 / 2)]
    rewards = torch.tensor([0.0, 1.0, -1.0, 2.0])
    learners = [math.log(2), math.log1p(math.e), math.log1p(1 / math.e)]
    expected = 0.5 * sum(learners) / 3 + 0.5 * math.log1p(math.exp(-2))
    assert float(loss_of({"transitions": inverse_prm_term(rewards, some)})) == pytest.approx(expected)


def test_gradients_flow_through_both_terms(prm: PreTrainedModel, chat: Chat, learners: list[Episode]) -> None:
    """Without the second term, words that only an a' says would move nothing."""
    told = chat.conversations(learners[0])[0].ids
    unsaid = next(token for token in range(len(chat.tokenizer) - 1, 0, -1) if token not in told)
    after = {t: [Candidate((0, t), (unsaid, chat.end), 1)] for t in range(1, len(learners[0].turns))}
    (made,) = transitions(chat, learners[0], "append", after, expert=True)
    prm.zero_grad()
    rewards_of(prm, [made], GAMMA)[0].backward()
    embedded = prm.base_model.embed_tokens.weight.grad
    assert embedded is not None
    assert embedded[unsaid].abs().sum() > 0
    prm.zero_grad()


def test_mistakes_of_a_demonstrator_are_no_transitions(chat: Chat, demonstrations: list[Episode]) -> None:
    shown = demonstrations[0]
    turns = list(shown.turns)
    turns[1] = replace(turns[1], admissible=False)
    mistaken = replace(shown, turns=tuple(turns))
    (as_expert,) = transitions(chat, mistaken, "append", answers(chat, mistaken), expert=True)
    (as_learner,) = transitions(chat, mistaken, "append", answers(chat, mistaken), expert=False)
    assert len(as_expert.ends) == len(as_learner.ends) - 1 == len(turns) - 1
    ends = [end - 1 for _, end in chat.conversations(mistaken)[0].answers]
    assert as_expert.ends == [end for t, end in enumerate(ends) if t != 1]


def test_next_answers_are_the_policys_in_every_state_but_the_first(
    taught_folder: Path, chat: Chat, learners: list[Episode]
) -> None:
    some = learners[:3]
    drawn = next_answers(taught_folder, chat, some, "append", n=3, **ANSWERS)
    for episode, after in zip(some, drawn, strict=True):
        assert sorted(after) == list(range(1, len(episode.turns)))
        assert all(sum(answer.draws for answer in said) == 3 for said in after.values())
        assert all(answer.ids[-1] == chat.end for said in after.values() for answer in said)
    again = next_answers(taught_folder, chat, some, "append", n=3, **ANSWERS)
    assert drawn == again


def test_it_learns_to_tell_the_expert_without_reading_an_outcome(
    taught_folder: Path, demonstrations: list[Episode], rollouts: list[Episode], learners: list[Episode], tmp_path: Path
) -> None:
    # What the learners do here is what the experts do: let them say something else.
    expert = without_outcomes(demonstrations)
    lost = without_outcomes(
        replace(each, turns=tuple(replace(turn, response="REASON: a\nACTION: look") for turn in each.turns))
        for each in learners
    )
    held_out = {learners[0].game, learners[1].game}
    told = train_inverse_prm(
        taught_folder,
        expert,
        lost[:6],
        lost[6:],
        SETTINGS.model_copy(update={"epochs": 2 * SETTINGS.epochs}),
        WORDING,
        tmp_path,
        dialogue="append",
        held_out=held_out,
        **ANSWERS,
    )
    assert told.expert.any()
    assert not told.expert.all()
    assert told.rewards[told.expert].mean() > 0.5 > 0 > told.rewards[~told.expert].mean()
    turns = [
        (turn, expert)
        for side, expert in ((demonstrations, True), (learners, False))
        for e in side
        if e.game in held_out
        for turn in e.turns
    ]
    assert len(told.rewards) == sum(turn.admissible or not expert for turn, expert in turns), "nothing was left out"
    targets = mc_value_targets(rollouts, gamma=GAMMA, held_out_games=0.3, seed=0)
    unknown = [episode for episode in rollouts if episode.game in held_out]
    scored = score_decisions(tmp_path, unknown, targets, WORDING, dialogue="append", budget=4096)
    assert set(scored["game"]) == held_out
    assert np.isfinite(scored["logit"]).all()
    assert isinstance(scored, pd.DataFrame)
