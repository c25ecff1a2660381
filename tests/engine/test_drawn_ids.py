"""What was drawn stays what it was: the same ids in rollouts, tables, trees and models, whatever the text reads as."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from agentprm_dagster.agents.learned_world import LearnedWorld
from agentprm_dagster.agents.policy import Policy
from agentprm_dagster.agents.value_placer import ValuePlacer
from agentprm_dagster.agents.worlds import Path as PredictedPath
from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.base import Sampled
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.engine import EmbeddedEngine
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Observation, Response, State, Turn
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.episodes.tables import read_episodes, write_episodes
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.rollouts.collect import collect_rollouts
from agentprm_dagster.training.candidates import Candidate, CandidateSampler, CandidateTrees
from agentprm_dagster.training.episode_trees import families, family_trees
from agentprm_dagster.training.inverse_prm import own_transitions
from agentprm_dagster.training.prm_examples import prm_examples
from agentprm_dagster.training.sft import sft_rows
from agentprm_dagster.training.world_model import world_examples
from bpe import PADDED, RESERVED, bpe_tokenizer, save_bpe_policy, spelled

NOWHERE = Observation("", (), reward=0.0, done=False)


@pytest.fixture(scope="module")
def folder(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a random policy with a BPE tokenizer."""
    made = tmp_path_factory.mktemp("bpe")
    save_bpe_policy(bpe_tokenizer(corpus), made)
    return made


@pytest.fixture(scope="module")
def chat(folder: Path) -> Chat:
    return Chat(checkpoints.load_tokenizer(folder), WORDING)


class Spelling(Policy):
    """Proposes what can be done, letter by letter; it notes what it draws when it acts."""

    def propose(self, slots: Sequence[int], candidates: int, temperature: float) -> list[list[Response]]:
        commands = ("look", "inventory", "help")
        return [[spelled(self.chat, write_answer("I try.", command)) for command in commands] for _ in slots]

    def _draw(self, slots: Sequence[int], candidates: int, temperature: float) -> Sampled:
        sampled = super()._draw(slots, candidates, temperature)
        self.drawn += zip(sampled.tokens, sampled.log_probabilities, strict=True)
        return sampled

    drawn: list[tuple[list[list[int]], torch.Tensor]]


@pytest.fixture(scope="module")
def played(folder: Path, household_games: list[PlayableGame]) -> tuple[Spelling, list[Episode]]:
    """Episodes of the random policy with branches whose first answers are spelled, and who played them."""
    agent = Spelling(
        EmbeddedEngine(checkpoints.load_policy(folder), conversations=4),
        Chat(checkpoints.load_tokenizer(folder), WORDING),
        dialogue="append",
        slots=4,
        temperature=1.0,
        max_new_tokens=8,
        seed=0,
    )
    agent.drawn = []
    episodes = collect_rollouts(
        agent,
        household_games[:4],
        per_game=1,
        max_steps=3,
        branch_states=1,
        branch_actions=3,
        branch_continuations=1,
        branch_temperature=1.0,
        seed=0,
        monitor=SilentMonitor(),
    )
    return agent, episodes


def own_turns(episodes: Sequence[Episode]) -> list[Turn]:
    return [turn for episode in episodes for turn in episode.own_turns]


def test_every_drawn_answer_is_recorded_with_its_ids(
    played: tuple[Spelling, list[Episode]], chat: Chat, tmp_path: Path
) -> None:
    agent, episodes = played
    turns = own_turns(episodes)
    assert len(turns) > 30
    assert all(turn.tokens and chat.decode(turn.tokens) == turn.response for turn in turns)
    branches = [episode for episode in episodes if episode.parent]
    assert {turn.tokens for episode in branches for turn in episode.own_turns[:1]} <= {
        spelled(chat, write_answer("I try.", command)).tokens for command in ("look", "inventory", "help")
    }
    by_policy = [turn.tokens for episode in episodes for turn in episode.own_turns[bool(episode.parent) :]]
    assert sorted(by_policy) == sorted(tuple(ids) for (ids,), _ in agent.drawn)
    read_otherwise = [turn for turn in turns if chat.answer(turn.response) != [*turn.tokens, chat.end]]
    assert len(read_otherwise) > 0.8 * len(turns), "their texts are other tokens"
    write_episodes(episodes, tmp_path)
    assert read_episodes(tmp_path) == episodes


def test_all_that_is_trained_on_them_reads_the_same_ids(played: tuple[Spelling, list[Episode]], chat: Chat) -> None:
    _, episodes = played
    given = {(each.episode_id, t): own_ids(chat, each, t) for each in episodes for t in range(len(each.turns))}
    for family in families(episodes):
        (scored,) = family_trees(chat, family, "append", branch_turns=3)
        assert len(scored.decisions) == len(own_turns(family))
        for decision, end in zip(scored.decisions, scored.ends, strict=True):
            assert scored.tree.ids[end + 1 - len(given[decision]) : end + 1] == given[decision]
        targets = mc_value_targets(family, gamma=0.9, held_out_games=0, seed=0)
        (example,) = prm_examples(chat, family, targets, "append", branch_turns=3, read_replies=True)
        assert example.tree.ids == scored.tree.ids
        (made,) = own_transitions(chat, family, "append")
        assert made.tree.ids == family_trees(chat, family, "append", branch_turns=2)[0].tree.ids
        (foreseen,) = world_examples(chat, family)
        assert foreseen.tree.ids == family_trees(chat, family, "append", branch_turns=1)[0].tree.ids
    accepted = [replace(each, turns=tuple(replace(t, admissible=True) for t in each.turns)) for each in episodes]
    for row, episode in zip(sft_rows(accepted, chat), accepted, strict=True):
        learnt = [label for label in row.labels if label != -100]
        assert learnt == [
            token for t in range(episode.start, len(episode.turns)) for token in own_ids(chat, episode, t)
        ]
    for episode in episodes:
        *_, restated = chat.conversations(episode, "restated")
        ((start, stop),) = restated.answers
        assert restated.ids[start:stop] == own_ids(chat, episode, -1)


def own_ids(chat: Chat, episode: Episode, turn: int) -> list[int]:
    return [*episode.turns[turn].tokens, chat.end]


@torch.no_grad()
def test_a_trainer_finds_them_as_likely_as_whoever_drew_them(
    played: tuple[Spelling, list[Episode]], folder: Path, chat: Chat
) -> None:
    agent, episodes = played
    drawn = {tuple(ids): float(log_p) for (ids,), log_p in agent.drawn}
    model = checkpoints.load_policy(folder).eval()
    compared = 0
    for episode in episodes:
        for t in range(episode.start + bool(episode.parent), len(episode.turns)):
            tokens = episode.turns[t].tokens
            answer = Candidate((0, 0), (*tokens, chat.end), 1, cut=len(tokens) == agent.limits.max_new_tokens)
            read = CandidateTrees([chat.conversations(episode, "append", [t])[0]], [answer]).log_probabilities(model)
            assert float(read) == pytest.approx(drawn[tokens], abs=1e-3)
            compared += 1
    assert compared == len(agent.drawn)


@torch.no_grad()
def test_a_placer_and_a_world_read_them_too(played: tuple[Spelling, list[Episode]], folder: Path, chat: Chat) -> None:
    _, episodes = played
    shown, tried = episodes[0], [spelled(chat, write_answer("I try.", each)) for each in ("look", "help")]
    state = chat.state(shown.first_observation, shown.turns[:2])
    stock = checkpoints.prm_from_policy(folder, seed=0).eval()
    as_they_are: Any = list
    placer = ValuePlacer(
        EmbeddedEngine(checkpoints.prm_from_policy(folder, seed=0), conversations=1),
        chat,
        as_they_are,
        dialogue="append",
        usage=Usage(),
    )
    placer.begin(0, State("e", shown.first_observation, shown.turns[:2], NOWHERE))
    (values,) = placer.scores([tried], [tried])
    read = [torch.tensor([[*state, *answer.tokens, chat.end]]) for answer in tried]
    assert values == pytest.approx([stock(ids).logits.sigmoid().item() for ids in read], abs=1e-5)

    engine = EmbeddedEngine(checkpoints.load_policy(folder), conversations=2)
    world = LearnedWorld(engine, chat, slots=1, max_reply_tokens=4)
    world.begin(0, State("e", shown.first_observation, shown.turns[:1], NOWHERE))
    world.observe(0, shown.turns[1], NOWHERE)
    predicted = PredictedPath(0, [])
    predicted.answer(tried[0])
    world.replies([predicted])
    before, _ = chat.delimiters
    told = [*state, *tried[0].tokens, chat.end, *before]
    assert engine.cache._ids[1, : len(told)].tolist() == told


def test_what_reads_as_nothing_is_never_drawn(folder: Path, chat: Chat) -> None:
    """At such a temperature every id is about as likely, and more than a third of them are unknown."""
    vocabulary = len(chat.tokenizer) + PADDED
    special = {*chat.tokenizer.convert_tokens_to_ids(["<|start|>", "<|pad|>", RESERVED])}
    barred = {*special, *range(len(chat.tokenizer), vocabulary)}
    assert special - {*chat.tokenizer.all_special_ids}, "not all that is special has a role"
    assert set(chat.never_drawn(vocabulary)) == barred
    model = checkpoints.load_policy(folder)
    use_grouped_attention(model)
    engine = EmbeddedEngine(model, conversations=2)
    agent = Policy(engine, chat, dialogue="append", slots=1, temperature=1.0, max_new_tokens=8, seed=0)
    agent.begin(0, State("e", "You see a desk 1.", (), NOWHERE))
    (proposed,) = agent.propose([0], 200, 20.0)
    drawn = {token for answer in proposed for token in answer.tokens}
    assert len(drawn) > 300
    assert not drawn & barred
    assert all(answer.cut == (len(answer.tokens) == 8) for answer in proposed)

    episode = Episode("e", "g", "pick_and_place_simple", "You see a desk 1.", (Turn("", "", "", ""),), reward=0.0)
    sampler = CandidateSampler(model, chat, longest=1000, rows=1, states=1, n=200, new=8)
    prefix = chat.conversations(episode, "append", [0])[0]
    candidates = sampler.draw([prefix], temperature=20.0, seed=0)
    assert not {token for each in candidates for token in each.ids} & barred

    world = LearnedWorld(engine, chat, slots=1, max_reply_tokens=4)
    _, (stop, *_) = chat.delimiters
    assert set(engine._sampler(world.reply.end, world.reply.banned).banned.tolist()) == (barred | {chat.end}) - {stop}


def test_a_tokenizer_may_know_more_ids_than_the_model(chat: Chat) -> None:
    assert chat.never_drawn(3) == [token for token in chat.never_drawn(10_000) if token < 3]
