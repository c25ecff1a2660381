"""An environment that takes no snapshots and grades its reward: played, branched, replayed, shown and targeted."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentprm_dagster.agents.oracle_world import OracleWorld, Transparent
from agentprm_dagster.agents.worlds import Path as PredictedPath
from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Observation, Response, State, Turn
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.episodes.tables import read_episodes, write_episodes
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.reports.evaluation import success
from agentprm_dagster.rollouts.collect import collect_rollouts
from agentprm_dagster.rollouts.coverage import coverage
from agentprm_dagster.rollouts.demonstrations import collect_demonstrations
from agentprm_dagster.rollouts.random_play import play_at_random
from agentprm_dagster.rollouts.replay import Replay
from steps_env import COMMANDS, KIND, Settings, StepsTask

TASKS = [StepsTask(ref) for ref in KIND.task_set(Settings(), seed=0, folder=Path()).tasks("train")]


class Guesser:
    """Any command, at random."""

    slots = 4

    def __init__(self) -> None:
        self.usage, self._random = Usage(), random.Random(0)

    def begin(self, slot: int, state: State) -> None:
        pass

    def act(self, slots: Sequence[int]) -> list[Response]:
        return [Response(write_answer("", self._random.choice(COMMANDS))) for _ in slots]

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        pass

    def propose(self, slots: Sequence[int], candidates: int, temperature: float) -> list[list[Response]]:
        return [[Response(write_answer("", self._random.choice(COMMANDS))) for _ in range(candidates)] for _ in slots]


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    return collect_rollouts(
        Guesser(),
        TASKS,
        per_game=3,
        max_steps=8,
        branch_states=2,
        branch_actions=3,
        branch_continuations=1,
        branch_temperature=1.0,
        seed=0,
        monitor=SilentMonitor(),
    )


def sums(episode: Episode) -> list[int]:
    """What the commands add up to, turn by turn."""
    steps = [{"add one": 1, "add two": 2, "wait": 0}[turn.action] for turn in episode.turns]
    return np.cumsum(steps).tolist()


def test_every_reward_is_what_the_commands_earned(episodes: list[Episode], tmp_path: Path) -> None:
    goals = {task.id: task.environment().goal for task in TASKS}
    for episode in episodes:
        goal, total = goals[episode.game], sums(episode)[-1]
        assert episode.reward == pytest.approx(0.5 if total > goal else total / goal)
        assert episode.truncated is (total < goal)
        assert episode.won is (total == goal)
    assert {episode.parent is None for episode in episodes} == {True, False}, "branches from states played to again"
    assert 0 < sum(episode.won for episode in episodes) < len(episodes)
    write_episodes(episodes, tmp_path)
    assert read_episodes(tmp_path) == episodes
    whole = [episode for episode in episodes if episode.parent is None]
    row = success(whole)
    assert row["mean_reward"] == pytest.approx(np.mean([episode.reward for episode in whole]))
    assert row["success_rate"] < row["mean_reward"], "half a reward is no success"


def test_a_branch_goes_on_from_the_state_it_left(episodes: list[Episode]) -> None:
    by_id = {episode.episode_id: episode for episode in episodes}
    branches = [episode for episode in episodes if episode.parent]
    assert len(branches) > 10
    for branch in branches:
        assert branch.parent
        assert branch.turns[: branch.start] == by_id[branch.parent].turns[: branch.start]
        before = sums(branch)[branch.start - 1] if branch.start else 0
        added = {"add one": 1, "add two": 2, "wait": 0}[branch.turns[branch.start].action]
        assert f"at {before + added}." in branch.turns[branch.start].observation or branch.turns[-1].observation


def test_a_replay_opens_every_state(episodes: list[Episode]) -> None:
    episode = max(episodes, key=lambda each: len(each.turns))
    (task,) = [task for task in TASKS if task.id == episode.game]
    replay = Replay(task, episode.turns)
    for turn in range(len(episode.turns)):
        environment, observation = replay.open(turn)
        before = episode.turns[turn - 1].observation if turn else episode.first_observation
        assert observation.text == before
        assert environment.step(episode.turns[turn].action).text == episode.turns[turn].observation
    assert len(set(replay.states)) == len(episode.turns) + 1, "the history is the state of what tells none"
    shared = Replay(task, episode.turns, parent=replay, shared=2)
    assert (shared.states, shared.open(2)[1]) == (replay.states, replay.open(2)[1])


def test_eq_1_is_the_mean_of_discounted_rewards(episodes: list[Episode]) -> None:
    table = mc_value_targets(episodes, gamma=0.9, held_out_games=0.3, seed=0)
    by_id = {episode.episode_id: episode for episode in episodes}
    row: Any
    for row in table.itertuples():
        episode = by_id[row.episode_id]
        assert row.outcome == pytest.approx(0.9 ** (len(episode.turns) - 1 - row.turn) * episode.reward)
    assert table["q"].between(0, 1).all()
    assert ((table["q"] > 0) & (table["q"] < 0.9)).any()


def test_coverage_counts_histories(episodes: list[Episode]) -> None:
    shown = collect_demonstrations(
        TASKS, KIND, expert="counter", episodes=6, max_steps=10, seed=0, monitor=SilentMonitor()
    )
    assert all(episode.won for episode in shown)
    assert {turn.response for turn in shown[0].turns} == {"REASON: \nACTION: add one"}, "no rule words a reason"
    seen = coverage(episodes, shown, {task.id: task for task in TASKS})
    assert 0 < seen.states < sum(len(episode.own_turns) for episode in episodes)


def test_random_play_learns_the_language_of_any_environment() -> None:
    played = play_at_random(KIND, TASKS[3], episode_id="r", max_steps=20, mistakes=0.0, seed=3)
    assert played == play_at_random(KIND, TASKS[3], episode_id="r", max_steps=20, mistakes=0.0, seed=3)
    assert len({turn.action for turn in played.turns}) > 1
    with pytest.raises(ValueError, match=r"pretraining\.hindsight: steps tells no episode under another task"):
        play_at_random(KIND, TASKS[3], episode_id="r", max_steps=20, mistakes=0.0, seed=3, hindsight=True)


def test_the_oracle_plays_on_from_where_the_game_is() -> None:
    task = TASKS[3]  # to reach 6
    environment, world = Transparent(task).environment(), OracleWorld()
    first = environment.reset()
    world.begin(0, State("e", first.text, (), first))
    seen = environment.step("add two")
    world.observe(0, Turn("", "add two", seen.text, ""), seen)
    path = PredictedPath(0, [])
    path.answer(Response(write_answer("", "add two")))
    assert world.replies([path]) == ["You stand at 4."]
    path.reply("You stand at 4.")
    path.answer(Response(write_answer("", "add two")))
    assert world.over([path]) == [True]
    assert environment.step("wait").text == "You stand at 2.", "nothing of it has happened"
