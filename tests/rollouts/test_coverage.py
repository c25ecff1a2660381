"""Distinct states over decisions, by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.reports.chart.coverage import draw_coverage
from agentprm_dagster.rollouts.coverage import coverage, distinct_over_decisions
from agentprm_dagster.rollouts.rollout import Start, play
from scripted import Scripted


def walk(game: PlayableGame, *commands: str, name: str = "e", turns: tuple[Turn, ...] = ()) -> Episode:
    """The game played by these commands, behind turns that are inherited."""
    said = iter(commands)
    agent = Scripted(lambda *_: write_answer("", next(said)))
    limit = len(turns) + len(commands)
    (episode,) = play(agent, [Start(name, game, turns)], max_steps=limit, total=1, monitor=SilentMonitor())
    return episode


def places(game: PlayableGame) -> list[str]:
    commands = game.environment().reset().admissible_commands
    return [command for command in commands if command.startswith("go to ")]


def test_by_hand(household_games: list[PlayableGame]) -> None:
    game, other = household_games[:2]
    there, further, *_ = places(game)
    episode = walk(game, "look", "look", there, "fly away", further, name="a")
    again = walk(game, there, "look", name="b")
    branch = replace(walk(game, further, "look", name="c", turns=episode.turns[:2]), parent="a")
    reset = walk(game, "look", there, name="d", turns=again.turns[:1])
    elsewhere = walk(other, "look", name="f")
    games = {each.id: each for each in (game, other)}
    everything = [episode, again, branch, reset, elsewhere]

    alone = coverage([episode], [], games)
    assert alone.seen.keys() == {"whole"}
    assert alone.seen["whole"].tolist() == [1, 1, 1, 2, 2], "looking and failing change nothing; the end is no decision"
    assert "expert_states_seen" not in alone.metrics()

    seen = coverage(everything, [walk(game, further, there, further), walk(household_games[2], "look")], games)
    assert seen.states == 4, "two of them in a; c ends its decisions in a third; the other game's is its own"
    assert seen.seen["branch"].tolist() == [1, 2]
    assert seen.seen["reset"].tolist() == [1, 1]
    assert (seen.expert_states, seen.expert_states_seen) == (3, 3)
    assert seen.metrics() == {
        "distinct_states": 4,
        "whole_states_per_decision": pytest.approx(float(seen.seen["whole"][1]) / 2),
        "reset_states_per_decision": 0.5,
        "branch_states_per_decision": 1.0,
        "expert_states_seen": 1.0,
    }


def test_distinct_states_are_counted_in_an_order_of_their_own() -> None:
    assert distinct_over_decisions([[3, 3, 5, 3, 1]]).tolist() == [1, 1, 2, 2, 3]
    several = [[i, i + 1] for i in range(50)]
    assert distinct_over_decisions(several)[-1] == 51
    assert distinct_over_decisions(several).tolist() == distinct_over_decisions(several).tolist()


def test_real_rollouts(household_games: list[PlayableGame], rollouts: list[Episode], tmp_path: Path) -> None:
    games = {game.id: game for game in household_games}
    seen = coverage(rollouts, [], games)
    assert sum(map(len, seen.seen.values())) == sum(len(episode.own_turns) for episode in rollouts)
    assert max(each[-1] for each in seen.seen.values()) <= seen.states <= sum(each[-1] for each in seen.seen.values())
    for name in ("1.png", "2.png"):
        draw_coverage(coverage(rollouts, [], games), tmp_path / name)
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


def test_what_does_not_replay_is_an_error(household_games: list[PlayableGame]) -> None:
    game = household_games[0]
    episode = walk(game, "look", "look")
    changed = replace(episode, turns=(replace(episode.turns[0], observation="It is dark."), *episode.turns[1:]))
    with pytest.raises(RuntimeError, match="does not replay"):
        coverage([changed], [], {game.id: game})
