"""Milestones: how much of a goal holds, what answers gain by it, and targets that count it."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.envs.alfworld.game_file import Game
from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.tables import write_episodes
from agentprm_dagster.targets.milestones import Settings, compute, gains, potentials

LEAST = {
    "pick_and_place_simple": 2,
    "look_at_obj_in_light": 3,
    "pick_clean_then_place_in_recep": 3,
    "pick_heat_then_place_in_recep": 3,
    "pick_cool_then_place_in_recep": 3,
    "pick_two_obj_and_place": 4,
}
"""Conditions of each kind of task."""


def test_on_the_way_to_a_win_condition_after_condition_holds(household_games: list[PlayableGame]) -> None:
    for game in household_games:
        environment = game.environment()
        environment.reset()
        reached = [KIND.progress(environment)]
        for command in Game.load(game.ref.path).walkthrough:
            observation = environment.step(command)
            reached.append(KIND.progress(environment))
            assert (reached[-1] == 1) == observation.won
        assert observation.won
        shares = {round(each * LEAST[game.kind], 6) for each in reached}
        assert shares <= set(range(LEAST[game.kind] + 1)), game.kind
        assert len(shares) >= 3, "not only nothing and all"


def test_all_holds_where_it_is_won_and_only_there(household_games: list[PlayableGame]) -> None:
    rng = random.Random(0)
    for game in household_games:
        environment = game.environment()
        observation = environment.reset()
        for _ in range(60):
            observation = environment.step(rng.choice(observation.commands))
            assert 0 <= KIND.progress(environment) <= 1
            assert (KIND.progress(environment) == 1) == observation.won


UNIT = st.floats(0, 1)


@given(st.lists(UNIT, min_size=1, max_size=9), UNIT, st.floats(0.1, 1))
def test_summed_up_it_is_the_return_less_what_the_start_had(
    rollouts: list[Episode], potential: list[float], reward: float, gamma: float
) -> None:
    """So that episodes from one start are ordered as their returns are."""
    turns = rollouts[0].turns[:1] * len(potential)
    ended = replace(rollouts[0], turns=turns, reward=reward, truncated=False)
    gained = gains(ended, [*potential, 0.5], gamma)
    total = sum(gamma**t * gain for t, gain in enumerate(gained))
    assert total == pytest.approx(gamma ** (len(turns) - 1) * reward - potential[0])
    cut = gains(replace(ended, truncated=True), [*potential, 0.5], gamma)
    assert sum(gamma**t * gain for t, gain in enumerate(cut)) == pytest.approx(gamma ** len(turns) * 0.5 - potential[0])


def test_targets_count_what_an_answer_gains(
    rollouts: list[Episode], household_games: list[PlayableGame], tmp_path: Path
) -> None:
    write_episodes(rollouts, tmp_path)
    settings = Settings(alpha=0.25, gamma=0.9)
    refs = [game.ref for game in household_games]
    targets = compute(tmp_path, settings, {}, WORDING, 0, refs)
    assert targets["target"].between(0, 1).all()
    by_id = {each.episode_id: each for each in rollouts}
    row = targets[targets["outcome"] > 0.9].iloc[0]
    episode = by_id[row["episode_id"]]
    (ref,) = (each for each in refs if each.id == episode.game)
    assert row["turn"] == len(episode.turns) - 1
    assert row["advantage"] == pytest.approx(1 - potentials(episode, ref)[-2])
    blend = 0.75 * row["q"] + 0.25 * row["advantage"]
    assert row["target"] == pytest.approx((blend + 0.25) / 1.25)
    gained = targets.loc[(targets["advantage"] > 0.1) & (targets["outcome"] < 1), "action"]
    assert gained.str.split().str[0].isin(["take", "clean", "heat", "cool", "move", "use", "go"]).all()
    assert (gained.str.startswith("take")).any()


def test_other_games_are_refused(rollouts: list[Episode], household_games: list[PlayableGame], tmp_path: Path) -> None:
    write_episodes(rollouts, tmp_path)
    with pytest.raises(ValueError, match="none of the games given"):
        compute(tmp_path, Settings(), {}, WORDING, 0, [])
    ref = next(game.ref for game in household_games if game.id == rollouts[0].game)
    first, *rest = rollouts[0].turns
    edited = replace(rollouts[0], turns=(replace(first, observation="You fly."), *rest))
    with pytest.raises(RuntimeError, match="does not replay"):
        potentials(edited, ref)
