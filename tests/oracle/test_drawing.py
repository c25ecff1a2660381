"""Which states the oracle is asked about."""

from collections import Counter
from dataclasses import replace

from agentprm_dagster.algorithm.targets import states_of
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.oracle.drawing import PHASES, Point, draw_points


def places(points: list[Point]) -> list[tuple[str, int]]:
    return [(point.episode.episode_id, point.turn) for point in points]


def test_they_are_spread_over_tasks_phases_and_games(rollouts: list[Episode]) -> None:
    points = draw_points(rollouts, 36, seed=0)
    cells = Counter((point.episode.task_type, point.phase) for point in points)
    assert len(points) == 36
    assert len(cells) == 6 * len(PHASES)
    assert set(cells.values()) == {2}
    assert set(Counter(point.episode.game for point in points).values()) == {3}, "two games of each of six tasks"


def test_each_state_is_asked_about_once_and_no_branch(rollouts: list[Episode]) -> None:
    twice = [*rollouts, *(replace(each, episode_id=f"{each.episode_id}b", parent=None) for each in rollouts)]
    points = draw_points([each for each in twice if each.start == 0], 10_000, seed=0)
    states = [list(states_of(point.episode))[point.turn] for point in points]
    assert sorted(states) == sorted({state for each in twice if each.start == 0 for state in states_of(each)})
    assert all(point.episode.parent is None for point in draw_points(rollouts, 10_000, seed=0))


def test_inherited_turns_are_none_of_its_own(rollouts: list[Episode]) -> None:
    moved = [replace(each, start=2) for each in rollouts if each.parent is None]
    assert min(point.turn for point in draw_points(moved, 10_000, seed=0)) == 2


def test_a_seed_decides(rollouts: list[Episode]) -> None:
    assert places(draw_points(rollouts, 20, seed=1)) == places(draw_points(rollouts, 20, seed=1))
    assert places(draw_points(rollouts, 20, seed=1)) != places(draw_points(rollouts, 20, seed=2))
