"""A PRM that places branches: its values are those of every whole conversation read alone."""

from pathlib import Path
from typing import Any

import pytest
import torch

from agentprm_dagster.agents.value_placer import ValuePlacer
from agentprm_dagster.config import Rollouts
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.engine import EmbeddedEngine
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Response, State
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.launch.worker import _placer, play_games, ready
from agentprm_dagster.rollouts.placement import SpreadPlacer
from plays import play_of

PLACED = Rollouts(per_game=1, max_steps=5, branch_states=1, branch_actions=2, slots=5, branch_placement="disagreement")


@pytest.fixture(scope="module")
def prm_folder(taught_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prm")
    tokenizer = checkpoints.load_tokenizer(taught_folder)
    checkpoints.save(checkpoints.prm_from_policy(taught_folder, seed=1), tokenizer, folder)
    return folder


def test_the_values_are_the_standard_heads_on_whole_conversations(
    prm_folder: Path, household_games: list[PlayableGame], rollouts: list[Episode]
) -> None:
    tokenizer, stock = checkpoints.load_tokenizer(prm_folder), checkpoints.load_prm(prm_folder).eval()
    chat, usage = Chat(tokenizer, WORDING), Usage()
    as_they_are: Any = list
    placer = ValuePlacer(
        EmbeddedEngine(checkpoints.load_prm(prm_folder), conversations=4),
        Chat(tokenizer, WORDING),
        as_they_are,
        dialogue="append",
        usage=usage,
    )
    whole = [episode for episode in rollouts if episode.parent is None][:2]
    states = [(whole[0], 0), (whole[1], 2), (whole[0], 3), (whole[0], 1)]
    commands = [["look", "inventory", "go to desk 1"], ["look"], ["look", "inventory"], []]
    tried = [[write_answer("I look.", command) for command in each] for each in commands]
    for slot, (episode, turn) in enumerate(states):
        observation = household_games[0].environment().reset()  # the append format does not read it
        placer.begin(slot, State("e", episode.first_observation, episode.turns[:turn], observation))
    proposed = [list(map(Response, each)) for each in tried]
    said = placer.scores(proposed, proposed)
    assert (said[1], said[3]) == (0.0, 0.0), "one action is compared with nothing"
    with torch.no_grad():
        for slot in (0, 2):
            episode, turn = states[slot]
            state = chat.state(episode.first_observation, episode.turns[:turn])
            read = [torch.tensor([[*state, *chat.answer(answer)]]) for answer in tried[slot]]
            assert said[slot] == pytest.approx([stock(ids).logits.sigmoid().item() for ids in read], abs=1e-5)
    longest, answers = chat.state(whole[0].first_observation, whole[0].turns[:3]), tried[0] + tried[2]
    assert usage.tokens_read >= len(longest) + sum(len(chat.answer(answer)) for answer in answers)
    assert usage.tokens_read < 2 * len(longest) + sum(len(chat.answer(answer)) for answer in answers), "read once"


def test_a_player_places_its_branches_by_the_prm(
    taught_folder: Path, prm_folder: Path, household_games: list[PlayableGame]
) -> None:
    def played(placed_by: Path | None) -> tuple[list[Episode], int]:
        play = play_of(taught_folder, PLACED, household_games, placed_by=placed_by)
        agent = ready(play)
        return play_games(agent, play, SilentMonitor()), agent.usage.tokens_read

    by_prm, read = played(prm_folder)
    by_spread, read_alone = played(None)
    assert played(prm_folder) == (by_prm, read), "the same seed, the same rollouts"
    assert read > read_alone, "what the PRM reads is counted"
    assert by_prm[:12] == by_spread[:12], "whole episodes are played before anything is placed"
    assert {(each.parent, each.start) for each in by_prm} != {(each.parent, each.start) for each in by_spread}


def test_without_a_prm_the_policys_own_answers_place() -> None:
    for placement in ("spread", "disagreement", "uncertainty"):
        how = PLACED.model_copy(update={"branch_placement": placement})
        assert isinstance(_placer(play_of(Path("policy"), how), Usage()), SpreadPlacer)
    uniform = PLACED.model_copy(update={"branch_placement": "uniform"})
    assert _placer(play_of(Path("policy"), uniform, placed_by=Path("prm")), Usage()) is None
