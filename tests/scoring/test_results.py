"""The numbers of a card by hand, and what must hold of any records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.algorithm.statistics import spread, wilson_interval
from agentprm_dagster.scoring.panel import Panel, PanelGame, Source
from agentprm_dagster.scoring.records import PlayedGame, Run, known_turns
from agentprm_dagster.scoring.results import results

KINDS = {"a": "heat", "b": "heat", "c": "heat", "d": "pick"}


def panel_of(*caps: int) -> Panel:
    games = tuple(PanelGame(id=name, kind=kind, digest="0" * 64) for name, kind in KINDS.items())
    source = Source(experiment="x", settings={"kind": "alfworld"}, seed=0)
    return Panel(environment="alfworld", rules="r", caps=caps, splits={"s": games}, source=source)


def game(name: str, length: int, won: bool, invalid: tuple[int, ...] = (), known: tuple[int, ...] = ()) -> PlayedGame:
    return PlayedGame(id=name, won=won, commands=("look",) * length, invalid=invalid, known=known)


def run(*games: PlayedGame, seed: int = 0) -> Run:
    return Run(games={"s": games}, seed=seed)


FIRST = run(
    game("a", 3, True),
    game("b", 12, True, invalid=(1, 11)),
    PlayedGame(id="c", won=False, commands=("look", "", *("look",) * 18), invalid=(1,), known=tuple(range(2, 20))),
    game("d", 20, False, known=(4, 5)),
)


def test_the_numbers_of_one_run_by_hand() -> None:
    short, long = results(panel_of(10, 20), [FIRST])
    assert (short.successes, long.successes) == ((1,), (2,))
    assert short.micro.rate == 0.25
    assert (long.micro.low, long.micro.high) == wilson_interval(2, 4)
    assert long.by_kind["heat"].rate == pytest.approx(2 / 3)
    assert (long.by_kind["heat"].n, long.by_kind["pick"].rate) == (3, 0.0)
    assert long.macro == pytest.approx((2 / 3 + 0) / 2)
    assert (short.actions_won, long.actions_won) == (3, 7.5)
    assert short.invalid == pytest.approx(2 / (3 + 10 + 10 + 10))
    assert long.invalid == pytest.approx(3 / (3 + 12 + 20 + 20))
    assert long.unparsed == pytest.approx(1 / 55)
    assert (short.circling, long.circling) == (0.25, 0.25), "c alone: of ten turns eight brought nothing new"
    assert short.over_runs is None


def test_several_runs_are_spread_and_their_games_counted_once() -> None:
    second = run(game("a", 2, True), game("b", 2, True), game("c", 2, True), game("d", 2, False, known=()), seed=1)
    (row,) = results(panel_of(20), [FIRST, second])
    assert (row.n, row.successes) == (4, (2, 3))
    assert row.micro.rate == 2.5 / 4
    assert (row.micro.low, row.micro.high) == wilson_interval(2.5, 4)
    found = spread([0.5, 0.75])
    assert row.over_runs is not None
    assert (row.over_runs.mean, row.over_runs.low, row.over_runs.most) == (found.mean, found.low, 0.75)


def test_what_was_not_counted_is_no_zero() -> None:
    silent = run(*(PlayedGame(id=name, won=False, commands=(), gave_up=True) for name in KINDS))
    (row,) = results(panel_of(5), [silent])
    assert (row.invalid, row.unparsed, row.actions_won) == (None, None, None)
    assert row.micro.rate == 0


def test_circling_begins_at_eight_turns() -> None:
    seven = game("a", 9, False, known=tuple(range(2, 9)))
    eight = game("a", 10, False, known=tuple(range(2, 10)))
    assert not seven.circled_within(50)
    assert eight.circled_within(50)
    assert not eight.circled_within(9), "within nine actions it had seven such turns"
    assert not game("a", 10, True, known=tuple(range(2, 10))).circled_within(50), "it was won"


def test_an_observation_is_known_if_it_was_there_before_the_reset_included() -> None:
    assert known_turns(["start", "x", "start", "y", "x"]) == (1, 3)


GAMES = st.builds(
    lambda length, won, turns: (length, won, tuple(sorted(turn for turn in turns if turn < length))),
    st.integers(0, 30),
    st.booleans(),
    st.sets(st.integers(0, 29)),
)


@given(st.lists(GAMES, min_size=4, max_size=4))
def test_more_actions_never_lose_a_game(played: list[tuple[int, bool, tuple[int, ...]]]) -> None:
    games = [
        game(name, length, won, invalid=turns, known=turns)
        for name, (length, won, turns) in zip(KINDS, played, strict=True)
    ]
    rows = results(panel_of(1, 5, 10, 30), [run(*games)])
    wins = [row.successes[0] for row in rows]
    assert wins == sorted(wins)
    assert wins[-1] == sum(won for _, won, _ in played)
    for row in rows:
        assert 0 <= row.micro.low <= row.micro.rate <= row.micro.high <= 1
        assert 0 <= (row.invalid or 0) <= 1
        assert sum(rate.n for rate in row.by_kind.values()) == row.n
