"""The world model learns the environment's words, and says when a game is won."""

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from agentprm_dagster.algorithm.terms import loss_of
from agentprm_dagster.config import WorldModel
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.launch.job import Job
from agentprm_dagster.training.world_model import _places, loss_terms, score_replies, train_world_model, world_examples

SETTINGS = WorldModel(epochs=60, learning_rate=2e-2, batch_tokens=1024)


@pytest.fixture(scope="module")
def chat(tokenizer: PreTrainedTokenizerFast) -> Chat:
    return Chat(tokenizer, WORDING)


@pytest.fixture
def model(policy_folder: Path) -> PreTrainedModel:
    loaded = checkpoints.load_policy(policy_folder)
    use_grouped_attention(loaded)
    return loaded


def test_the_environments_words_alone_are_learnt(chat: Chat, rollouts: list[Episode]) -> None:
    examples = world_examples(chat, rollouts)
    tries = {(episode.parent, episode.start, episode.turns[episode.start].response) for episode in rollouts}
    whole = [episode for episode in rollouts if episode.parent is None]
    expected = sum(len(episode.turns) for episode in whole) + sum(parent is not None for parent, _, _ in tries)
    replies = [(example.tree, reply) for example in examples for reply in example.replies]
    assert len(replies) == expected, "whole episodes, and one reply to each action tried"
    _, (hands_over, *_) = chat.delimiters
    for tree, reply in replies:
        assert chat.decode(tree.ids[reply.first : reply.closing]) == reply.turn.observation
        assert tree.ids[reply.closing] == hands_over
    for example in examples:
        learnt = [token for _, token in _places(example)]
        follows = [reply.follows for reply in example.replies if reply.follows is not None]
        words = [reply.closing - reply.first + 1 for reply in example.replies]
        assert len(learnt) == sum(words) + len(follows)


def test_wins_are_followed_by_nothing(chat: Chat, rollouts: list[Episode]) -> None:
    ended = {False: 0, True: 0}
    for example in world_examples(chat, rollouts):
        for reply in example.replies:
            assert (reply.follows == chat.end) is reply.over
            ended[reply.over] += 1
    assert ended[True] >= sum(episode.won for episode in rollouts if episode.parent is None) > 0
    lost = [episode for episode in rollouts if not episode.won and episode.parent is None]
    for example in world_examples(chat, lost):
        assert example.replies[-1].follows is None, "it was broken off: nobody knows"


@torch.no_grad()
def test_the_loss_is_that_of_the_stock_model(chat: Chat, model: PreTrainedModel, demonstrations: list[Episode]) -> None:
    """One episode read from its start: the loss of every word of the environment's, and of what follows it."""
    episode = demonstrations[0]
    assert episode.won
    (example,) = world_examples(chat, [episode])
    terms = loss_terms(model, [example], SETTINGS, 0.0)
    whole = [
        *chat.prompt(WORDING.conversation(episode.first_observation, episode.turns, last_observation=True)),
        chat.end,
    ]
    log_p = model(torch.tensor([whole])).logits[0].log_softmax(-1)
    (before, after), said = chat.delimiters, []
    for t, turn in enumerate(episode.turns):
        stop = len(chat.state(episode.first_observation, episode.turns[: t + 1]))
        text = chat.follow_up(turn.observation)[len(before) : len(chat.follow_up(turn.observation)) - len(after)]
        first = stop - len(after) - len(text)
        said += [-log_p[i - 1, whole[i]] for i in (*range(first, stop - len(after) + 1), stop)]
    assert float(loss_of(terms)) == pytest.approx(float(torch.stack(said).mean()), abs=1e-4)


def test_it_learns_what_it_is_shown_and_is_judged_on_other_games(
    taught_folder: Path, chat: Chat, demonstrations: list[Episode], rollouts: list[Episode], tmp_path: Path
) -> None:
    shown, unknown = demonstrations[:5], demonstrations[5:7]
    tried = [episode for episode in rollouts if episode.game == unknown[0].game]
    held_out = {episode.game for episode in unknown}
    report = train_world_model(
        taught_folder,
        [*shown, *unknown],
        tried,
        SETTINGS,
        WORDING,
        tmp_path,
        min_exact=1.0,
        held_out=held_out,
        job=Job(seed=0),
    )
    learnt = checkpoints.load_policy(tmp_path)
    use_grouped_attention(learnt)
    known = score_replies(learnt, chat, world_examples(chat, shown), 4096)
    assert known["exact"].mean() > 0.7
    assert (known["ends"] == known["over"]).mean() > 0.9
    judged = sum(len(example.replies) for part in (unknown, tried) for example in world_examples(chat, part))
    assert report.metrics["held_out_replies"] == judged
    assert known["exact"].mean() > report.metrics["exact"]
    assert [gate.name for gate in report.gates] == ["better_than_constant"]
