"""Eq. 1 by hand."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.algorithm.held_out import hold_out
from agentprm_dagster.algorithm.targets import discounted_outcome, mc_value_targets
from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.reports.targets_report import targets_report


def turn(action: str, observation: str = "", reason: str = "") -> Turn:
    return Turn(reason=reason, action=action, observation=observation or f"after {action}", response="")


def episode(name: str, actions: Sequence[str], *, reward: float, game: str = "g") -> Episode:
    return Episode(name, game, "pick_and_place_simple", f"room of {game}", tuple(map(turn, actions)), reward)


def targets(
    *episodes: Episode,
    gamma: float = 0.5,
    held_out_games: float = 0.0,
    seed: int = 0,
) -> pd.DataFrame:
    return mc_value_targets(episodes, gamma=gamma, held_out_games=held_out_games, seed=seed)


def q(table: pd.DataFrame, episode_id: str) -> list[float]:
    return table.loc[table["episode_id"] == episode_id, "q"].tolist()


def test_a_win_counts_for_less_the_more_turns_it_still_took() -> None:
    table = targets(episode("e", "abc", reward=1.0))
    assert table["q"].tolist() == [0.25, 0.5, 1.0]
    assert table[["turn", "action"]].to_numpy().tolist() == [[0, "a"], [1, "b"], [2, "c"]]
    assert table["visits"].tolist() == [1, 1, 1]


def test_a_loss_is_worth_nothing() -> None:
    assert targets(episode("e", "abc", reward=0.0))["q"].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("reward", [1.0, 0.0, 0.25])
def test_one_turn(reward: float) -> None:
    assert targets(episode("e", "a", reward=reward), gamma=0.3)["q"].tolist() == [reward]


def test_part_of_a_reward_is_discounted_as_a_whole_one() -> None:
    assert targets(episode("e", "abc", reward=0.5), gamma=0.5)["q"].tolist() == [0.125, 0.25, 0.5]


def test_no_turn_is_no_decision() -> None:
    assert len(targets(episode("e", "", reward=0.0))) == 0


def test_the_mean_goes_over_all_rollouts_through_a_pair() -> None:
    # Through (start, a): a win in three turns, a win in two, a loss; through (start a, b): the first and the loss.
    table = targets(
        episode("long", "abc", reward=1.0), episode("short", "ad", reward=1.0), episode("lost", "abd", reward=0.0)
    )
    assert q(table, "long") == [(0.25 + 0.5 + 0) / 3, (0.5 + 0) / 2, 1.0]
    assert q(table, "short") == [(0.25 + 0.5 + 0) / 3, 1.0]
    assert q(table, "lost") == [(0.25 + 0.5 + 0) / 3, (0.5 + 0) / 2, 0.0]
    assert table["visits"].tolist() == [3, 2, 1, 3, 1, 3, 2, 1]
    assert table["outcome"].tolist() == [0.25, 0.5, 1.0, 0.5, 1.0, 0.0, 0.0, 0.0]


def test_the_same_view_later_is_another_state() -> None:
    # A state is all that was observed and done: looking twice and seeing the same is not the same state.
    table = targets(episode("e", ["look", "look"], reward=1.0))
    assert table["state"].nunique() == 2
    assert table["q"].tolist() == [0.5, 1.0]


def test_a_state_is_game_observations_and_actions_and_no_reasons() -> None:
    base = episode("e", "ab", reward=1.0)
    reasoned = replace(base, episode_id="r", turns=(turn("a", reason="because"), turn("b")), reward=0.0)
    seen_otherwise = replace(base, episode_id="o", turns=(turn("a", "something else"), turn("b")))
    elsewhere = replace(base, episode_id="g", game="h")
    table = targets(base, reasoned, seen_otherwise, elsewhere)
    states = [table.loc[table["episode_id"] == name, "state"].tolist() for name in "erog"]
    assert states[0] == states[1]
    assert states[0][0] == states[2][0]
    assert states[0][1] != states[2][1]
    assert not set(states[0]) & set(states[3])
    assert q(table, "e") == q(table, "r") == [1 / 3, 0.5]


def test_a_branch_counts_from_its_own_turns_on() -> None:
    parent = episode("p", "abc", reward=0.0)
    branch = replace(episode("p/b", "axy", reward=1.0), start=1, parent="p")
    table = targets(parent, branch)
    # The parent's first action was not drawn again for the branch, so the branch says nothing about it.
    assert q(table, "p") == [0.0, 0.0, 0.0]
    assert q(table, "p/b") == [0.5, 1.0]
    own = table[table["episode_id"] == "p/b"]
    assert own["turn"].tolist() == [1, 2]
    assert own["state"].iloc[0] == table["state"].iloc[1], "the branch and its parent tried two actions in one state"


GAMES = [episode(f"{game}{k}", "ab", reward=float(k), game=f"game {game}") for game in range(10) for k in range(2)]


@pytest.mark.parametrize(("share", "games"), [(0.0, 0), (1e-9, 1), (1.0, 10)])
def test_whole_games_are_held_out(share: float, games: int) -> None:
    table = targets(*GAMES, held_out_games=share)
    held = table.groupby("game")["held_out"].mean()
    assert set(held) <= {0.0, 1.0}
    assert (held == 1.0).sum() == games


def test_a_game_is_held_out_whatever_other_games_are_there() -> None:
    games = [f"g{i}" for i in range(2000)]
    held = hold_out(games, 0.15, seed=3)
    assert 0.12 < len(held) / len(games) < 0.18
    assert hold_out(games[500:], 0.15, seed=3) == held & set(games[500:])


def test_what_is_held_out_depends_on_seed_and_games_alone() -> None:
    def held(*episodes: Episode, seed: int) -> set[str]:
        table = targets(*episodes, held_out_games=0.3, seed=seed)
        return set(table.loc[table["held_out"], "game"])

    assert held(*GAMES, seed=1) == held(*GAMES[::-1], seed=1)
    assert len({frozenset(held(*GAMES, seed=seed)) for seed in range(5)}) > 1


@st.composite
def rollout_sets(draw: st.DrawFn) -> list[Episode]:
    """Episodes of two games over two actions, so that many go through the same pairs; some are branches."""
    episodes: list[Episode] = []
    for i in range(draw(st.integers(1, 12))):
        actions = draw(st.lists(st.sampled_from("ab"), min_size=1, max_size=5))
        made = episode(
            str(i), actions, reward=draw(st.sampled_from([0.0, 0.25, 1.0])), game=draw(st.sampled_from("gh"))
        )
        start = draw(st.integers(0, len(actions) - 1))
        episodes.append(replace(made, start=start, parent="0") if i and start else made)
    return episodes


@given(rollout_sets(), st.floats(0.01, 1))
def test_targets_are_means_of_returns_in_the_unit_interval(episodes: list[Episode], gamma: float) -> None:
    table = targets(*episodes, gamma=gamma)
    assert len(table) == sum(len(episode.own_turns) for episode in episodes)
    assert table["q"].between(0, 1).all()
    for _, group in table.groupby(["game", "state", "action"]):
        assert group["q"].tolist() == pytest.approx([group["outcome"].mean()] * len(group))
        assert set(group["visits"]) == {len(group)}
    outcomes = {
        (e.episode_id, t): discounted_outcome(e.reward, t, len(e.turns) - 1, gamma)
        for e in episodes
        for t in range(e.start, len(e.turns))
    }
    assert table["outcome"].tolist() == list(outcomes.values())


def test_targets_that_are_all_alike_do_not_pass() -> None:
    def passed(*episodes: Episode) -> dict[str, bool]:
        return {gate.name: gate.passed for gate in targets_report(targets(*episodes)).gates}

    assert passed(episode("e", "ab", reward=1.0)) == {"targets_in_unit_interval": True, "targets_differ": True}
    assert passed(episode("e", "ab", reward=0.0)) == {"targets_in_unit_interval": True, "targets_differ": False}


def test_the_report_counts() -> None:
    metrics = targets_report(targets(episode("1", "ab", reward=1.0), episode("2", "ac", reward=0.0))).metrics
    assert (metrics["decisions"], metrics["state_action_pairs"], metrics["states"]) == (4, 3, 2)
    assert metrics["states_with_several_actions"] == 1
    assert metrics["visited_more_than_once"] == pytest.approx(1 / 3)
    assert metrics["mean_target"] == pytest.approx((0.25 + 1 + 0.25 + 0) / 4)
