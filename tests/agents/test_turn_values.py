"""The values of played turns are the standard head's on whole conversations, and those that chose in play."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from agentprm_dagster.agents.best_of_n import PrmJudge
from agentprm_dagster.agents.turn_values import turn_values
from agentprm_dagster.config import Rollouts
from agentprm_dagster.config.kinds import AnyEngine
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.base import ContextOverflow, Sampled
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.engine import EmbeddedEngine
from agentprm_dagster.engine.kinds import engine_kind
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.episodes.values import TurnValue
from agentprm_dagster.launch.play import Choice, Play, Valued
from agentprm_dagster.launch.worker import play_games, ready, values_of
from plays import play_of
from vllm_stub import served_by, stub

HOW = Rollouts(per_game=1, temperature=1.0, max_steps=5, branch_states=0, slots=3, max_new_tokens=16)


def chat_of(prm: Path) -> Chat:
    return Chat(checkpoints.load_tokenizer(prm), WORDING)


def plain(prm: Path, episode: Episode, dialogue: Format) -> list[TurnValue]:
    """Every value from a forward pass of its own over everything before it."""
    model, chat = checkpoints.load_prm(prm).eval(), chat_of(prm)

    def value(ids: list[int]) -> float:
        with torch.no_grad():
            return float(model(torch.tensor([ids])).logits.sigmoid())

    values = []
    for t, turn in enumerate(episode.turns):
        ids = chat.state(episode.first_observation, episode.turns[:t], dialogue, turn.candidates)
        ids += chat.answer(turn.response, turn.tokens)
        observed = ids + chat.follow_up(turn.observation)
        values.append(TurnValue(value(ids), value(observed) if dialogue == "append" else None))
    return values


def close_to(values: Sequence[TurnValue]) -> list[Any]:
    return [(pytest.approx(each.q, abs=1e-5), each.after and pytest.approx(each.after, abs=1e-5)) for each in values]


def numbers(values: Sequence[TurnValue]) -> list[tuple[float, float | None]]:
    return [(each.q, each.after) for each in values]


def play(policy: Path, dialogue: Format, games: Sequence[PlayableGame], **rest: Any) -> Play:
    return replace(play_of(policy, HOW, games), dialogue=dialogue, **rest)


@pytest.fixture(params=["embedded", "transformers", "vllm"])
def engine(request: pytest.FixtureRequest, taught_folder: Path, prm_folder: Path) -> Any:
    if request.param != "vllm":
        yield engine_kind(request.param).Settings()
        return
    with stub(taught_folder) as policies, stub(prm_folder, "prm") as prms:
        yield engine_kind("vllm").Settings(**served_by(policies), **served_by(prms))


@pytest.mark.parametrize("dialogue", ["append", "restated"])
def test_they_are_the_standard_heads_and_those_that_chose_in_play(
    taught_folder: Path,
    prm_folder: Path,
    household_games: list[PlayableGame],
    dialogue: Format,
    engine: AnyEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In every format, by every engine, of answers that ended and of such that were cut."""
    chosen: list[float] = []
    keep, scores = PrmJudge.keep, PrmJudge.scores
    said: list[torch.Tensor] = []

    def scoring(judge: PrmJudge, *arguments: Any) -> torch.Tensor:
        said.append(scores(judge, *arguments))
        return said[-1]

    def keeping(judge: PrmJudge, slots: Sequence[int], sampled: Sampled, choice: Sequence[int]) -> None:
        chosen.extend(float(row[c].sigmoid()) for row, c in zip(said[-1], choice, strict=True))
        keep(judge, slots, sampled, choice)

    monkeypatch.setattr(PrmJudge, "scores", scoring)
    monkeypatch.setattr(PrmJudge, "keep", keeping)
    choice = Choice("prm", prm_folder, best_of=3)
    playing = play(taught_folder, dialogue, household_games[:4], choice=choice, engine=engine)
    episodes = play_games(ready(playing), playing, SilentMonitor())
    values = values_of(playing, Valued(prm_folder, observations=True), episodes)
    assert [*values] == [episode.episode_id for episode in episodes]
    for episode in episodes:
        assert numbers(values[episode.episode_id]) == close_to(plain(prm_folder, episode, dialogue))
    in_play = sorted(chosen)
    assert sorted(each.q for turns in values.values() for each in turns) == pytest.approx(in_play, abs=1e-5)
    assert any(not turn.parsed for episode in episodes for turn in episode.turns), "some answers were cut"


@pytest.mark.parametrize("slots", [1, 2, 50])
def test_inherited_turns_and_any_number_of_slots(prm_folder: Path, rollouts: list[Episode], slots: int) -> None:
    engine = EmbeddedEngine(checkpoints.load_prm(prm_folder), conversations=slots)
    branch = next(episode for episode in rollouts if episode.parent)
    parent = next(each for each in rollouts if each.episode_id == branch.parent)
    family = [parent, branch, next(each for each in rollouts if each.game != branch.game)]
    values = turn_values(engine, chat_of(prm_folder), family, dialogue="append", slots=slots, observations=False)
    for episode in family:
        expected = [TurnValue(each.q, None) for each in plain(prm_folder, episode, "append")]
        assert numbers(values[episode.episode_id]) == close_to(expected)


def test_a_last_observation_without_room_has_no_value(prm_folder: Path, rollouts: list[Episode]) -> None:
    """Play does not feed it; what play had to feed must fit."""
    whole = [episode for episode in rollouts if episode.parent is None]
    long, other = sorted(whole, key=lambda episode: len(episode.turns))[-2:]
    chat, engine = chat_of(prm_folder), EmbeddedEngine(checkpoints.load_prm(prm_folder), conversations=2)
    lengths = [len(tokens.ids) for episode in (long, other) for tokens in chat.conversations(episode)]
    engine.cache.capacity = max(lengths)
    values = turn_values(engine, chat, [long, other], dialogue="append", slots=2, observations=True)
    longest = (long, other)[lengths.index(max(lengths))]
    *before, last = values[longest.episode_id]
    assert last.after is None and last.q > 0
    assert all(each.after is not None for each in before)
    engine.cache.capacity = max(lengths) - 1
    with pytest.raises(ContextOverflow):
        turn_values(engine, chat, [longest], dialogue="append", slots=2, observations=True)
