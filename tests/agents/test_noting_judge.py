"""A judge that is listened to chooses as it would alone, and nothing that it says is lost."""

from pathlib import Path
from typing import Any

import pytest

from agentprm_dagster.agents.noting_judge import NotingJudge
from agentprm_dagster.config import Rollouts
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.launch.play import Choice, Valued
from agentprm_dagster.launch.worker import play_games, ready, values_of
from plays import play_of


def test_it_notes_what_chose(taught_folder: Path, prm_folder: Path, household_games: list[PlayableGame]) -> None:
    how = Rollouts(per_game=1, temperature=1.0, max_steps=6, branch_states=0, slots=1, max_new_tokens=16)
    play = play_of(taught_folder, how, household_games[:1], choice=Choice("prm", prm_folder, best_of=4))
    alone = play_games(ready(play), play, SilentMonitor())
    agent: Any = ready(play)
    agent.judge = noting = NotingJudge(agent.judge, agent.chat)
    episodes = play_games(agent, play, SilentMonitor())
    assert episodes == alone
    (episode,) = episodes
    (values,) = values_of(play, Valued(prm_folder, observations=True), episodes).values()
    assert len(noting.turns) == len(episode.turns) == len(values)
    for turn, value, candidates in zip(episode.turns, values, noting.turns, strict=True):
        assert len(candidates) == 4
        (taken,) = (each for each in candidates if each.taken)
        assert taken.text == turn.response
        assert taken.value == pytest.approx(value.q, abs=1e-5)
