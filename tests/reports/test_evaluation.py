"""Success rates by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.algorithm.statistics import wilson_interval
from agentprm_dagster.envs.alfworld.tasks import SHORT_NAMES, TaskType
from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.reports.evaluation import evaluation_report, evaluation_row, success

TURN = Turn(reason="", action="look", observation="", response="")


def episode(name: str, *, reward: float, turns: int, kind: TaskType = "pick_and_place_simple") -> Episode:
    return Episode(name, name, kind, "", (TURN,) * turns, reward)


EPISODES = [
    episode("a", reward=1.0, turns=4),
    episode("b", reward=1.0, turns=8),
    episode("c", reward=0.0, turns=30, kind="look_at_obj_in_light"),
]


def row(split: str = "valid_seen") -> dict[str, object]:
    return evaluation_row(
        EPISODES,
        experiment="toy",
        ranked_by=None,
        policy="pi_1",
        iteration=1,
        split=split,
        max_steps=30,
        best_of=1,
        seed=5,
        tokens=600,
        world=None,
        horizon=0,
        kinds=SHORT_NAMES,
    )


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # The paper's pi_0 and pi_3 of 134 games (Table 1), and the ends, where the normal interval fails.
    [(87, 134, 0.565, 0.725), (118, 134, 0.815, 0.925), (0, 10, 0.0, 0.278), (10, 10, 0.722, 1.0)],
)
def test_wilson_by_hand(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=1e-3)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_rate_and_mirrors(counts: tuple[int, int]) -> None:
    successes, n = counts
    low, high = wilson_interval(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    assert wilson_interval(n - successes, n) == pytest.approx((1 - high, 1 - low))


def test_nothing_played_is_no_success_rate_of_zero() -> None:
    with pytest.raises(ValueError, match="at least one episode"):
        success([])


def test_a_row_by_hand() -> None:
    made = row()
    assert (made["n"], made["successes"], made["success_rate"]) == (3, 2, pytest.approx(2 / 3))
    assert (made["mean_actions"], made["mean_actions_won"]) == (14.0, 6.0)
    assert made["by_task_type"].keys() == {"pick_and_place_simple", "look_at_obj_in_light"}  # type: ignore[attr-defined]
    assert made["by_task_type"]["look_at_obj_in_light"]["mean_actions_won"] is None  # type: ignore[index]


@pytest.mark.parametrize(("games", "passed"), [(3, True), (4, False)])
def test_every_game_must_be_accounted_for(games: int, passed: bool) -> None:
    (gate,) = evaluation_report([row()], {"valid_seen": games}, Usage()).gates
    assert gate.passed is passed
    assert ("3 of 4 of valid_seen" in gate.message) is not passed


@pytest.mark.parametrize(("iteration", "said"), [(1, True), (None, False)])
def test_the_page_says_that_the_seed_counts_too_where_a_policy_was_trained(iteration: int | None, said: bool) -> None:
    report = evaluation_report([row() | {"iteration": iteration}], {"valid_seen": 3}, Usage())
    assert ("The page of `results` shows what several seeds gave." in report.preview) is said
