"""Two cards beside each other, and several in a table."""

import pytest

from agentprm_dagster.algorithm.statistics import paired_difference
from agentprm_dagster.scoring import score
from agentprm_dagster.scoring.against import against
from agentprm_dagster.scoring.card import Card, Training
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.leaderboard import leaderboard
from agentprm_dagster.scoring.panel import differences
from agentprm_dagster.scoring.results import results


def losing(card: Card, *losers: int) -> Card:
    """The card with some of its games lost."""
    (run,) = card.runs
    games = [
        game.model_copy(update={"won": game.won and i not in losers}) for i, game in enumerate(run.games["valid_seen"])
    ]
    runs = (run.model_copy(update={"games": {"valid_seen": tuple(games)}}),)
    return card.model_copy(update={"name": "worse", "runs": runs, "results": results(card.panel, runs)})


def test_games_are_paired(walkthrough: Card) -> None:
    (_, line) = against(walkthrough, losing(walkthrough, 1, 4))
    ids = [game.id for game in walkthrough.panel.splits["valid_seen"]]
    expected = paired_difference(dict.fromkeys(ids, True), {name: i not in (1, 4) for i, name in enumerate(ids)})
    assert (line.difference, line.low, line.high) == (expected.rate, expected.low, expected.high)
    assert line.won_alone == (ids[1], ids[4])
    assert line.lost_alone == ()
    (_, back) = against(losing(walkthrough, 1, 4), walkthrough)
    assert (back.difference, back.lost_alone) == (-line.difference, line.won_alone)


def test_one_run_is_paired_with_each_of_several(walkthrough: Card, handcoded: Card) -> None:
    short, _ = against(walkthrough, handcoded)
    rates = [row.micro.rate for card in (walkthrough, handcoded) for row in card.results if row.cap == 6]
    assert short.difference == pytest.approx(rates[0] - rates[1])
    assert short.n == 6, "runs do not make games more"


def test_other_panels_are_refused_and_in_what_is_said(walkthrough: Card) -> None:
    other = score("expert:walkthrough", panel="smoke", split="valid_seen", caps=(6, 12), processes=1)
    with pytest.raises(ScoreError, match=r"expected two cards of one panel; they differ in caps: 6, 20 and 6, 12"):
        against(walkthrough, other)
    assert list(differences(walkthrough.panel, walkthrough.panel)) == []


def test_cards_of_one_panel_share_a_table(walkthrough: Card) -> None:
    worse = losing(walkthrough, 0, 1, 2)
    table = leaderboard([worse, walkthrough])
    assert table.index("expert:walkthrough") < table.index("| worse |"), "the best first"
    assert "| none yet | - |" in table


def test_time_to_the_goal_counts_alfworlds_own_games_alone(walkthrough: Card) -> None:
    trained = walkthrough.model_copy(update={"training": Training(hours=2.5, processor="a CPU", stated=True)})
    panel = trained.panel.model_copy(update={"caps": (50,)})
    generated = trained.model_copy(update={"panel": panel, "results": results(panel, trained.runs)})
    assert "| none yet | - |" in leaderboard([generated])
    source = panel.source.model_copy(update={"settings": {**panel.source.settings, "source": "alfworld"}})
    real = generated.model_copy(update={"panel": panel.model_copy(update={"source": source})})
    assert "| expert:walkthrough | 2.5 h (stated), a CPU |" in leaderboard([real])
    assert "| none yet | - |" in leaderboard([real.model_copy(update={"training": None})])
