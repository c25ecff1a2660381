"""Playing many games at once with agents that need no model."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scripted
from agentprm_dagster.envs.alfworld.game_file import Game
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Episode, Observation, Response, State, Turn
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.reports.rollouts_report import rollouts_report
from agentprm_dagster.rollouts.branches import DRAWN, branches
from agentprm_dagster.rollouts.collect import collect_rollouts, whole_episodes
from agentprm_dagster.rollouts.coverage import Coverage
from agentprm_dagster.rollouts.rollout import Start, play
from scripted import Decide, Scripted, nonsense, random_play

MAX_STEPS = 20


@pytest.fixture(scope="module")
def knowing(household_games: list[PlayableGame]) -> Decide:
    return scripted.knowing(household_games)


SEEN = Coverage({"whole": np.array([1, 2, 2])}, states=2, expert_states=8, expert_states_seen=2)
report_on = partial(rollouts_report, coverage=SEEN)


def run(
    agent: Scripted, starts: Sequence[Start], max_steps: int = MAX_STEPS, patience: int | None = None
) -> list[Episode]:
    return play(agent, starts, max_steps=max_steps, total=len(starts), monitor=SilentMonitor(), patience=patience)


def test_who_knows_the_way_wins(household_games: list[PlayableGame], knowing: Decide) -> None:
    starts = whole_episodes(household_games, 2)
    episodes = run(Scripted(knowing), starts)
    assert len(episodes) == 24
    assert {episode.episode_id for episode in episodes} == {start.episode_id for start in starts}
    ways = {game.id: Game.load(game.ref.path).walkthrough for game in household_games}
    for episode in episodes:
        assert episode.won
        assert not episode.truncated
        assert tuple(turn.action for turn in episode.turns) == ways[episode.game]
        assert all(turn.parsed and turn.admissible for turn in episode.turns)


def test_nonsense_is_counted_and_changes_nothing(household_games: list[PlayableGame]) -> None:
    episodes = run(Scripted(nonsense), whole_episodes(household_games, 1), max_steps=3)
    expected = Turn("", "", "Nothing happens.", "Let me think about it.", parsed=False, admissible=False)
    assert all(episode.turns == (expected,) * 3 and not episode.won for episode in episodes)
    report = report_on(episodes, Usage(), max_parse_failures=0.1, min_wins=1, min_losses=1)
    assert (report.metrics["parse_failures"], report.metrics["inadmissible_actions"]) == (1.0, 1.0)
    assert [gate.passed for gate in report.gates] == [False, False]
    assert "100.0% of 36 answers were not in the agreed form" in report.gates[0].message
    assert "0 episodes won and 12 lost" in report.gates[1].message


def test_a_command_that_does_not_exist_here_is_parsed_but_not_admissible(household_games: list[PlayableGame]) -> None:
    agent = Scripted(lambda *_: write_answer("", "fly away"))
    (episode,) = run(agent, whole_episodes(household_games[:1], 1), max_steps=1)
    assert episode.turns == (Turn("", "fly away", "Nothing happens.", "REASON: \nACTION: fly away", admissible=False),)


def test_a_slot_takes_the_next_start_at_once(household_games: list[PlayableGame], knowing: Decide) -> None:
    agent = Scripted(knowing, slots=5)
    episodes = run(agent, whole_episodes(household_games, 1))
    assert sum(agent.busy) == sum(len(episode.turns) for episode in episodes)
    assert agent.busy == sorted(agent.busy, reverse=True), "no slot was idle while a start was waiting"
    assert agent.busy[0] == 5


@pytest.mark.parametrize("slots", [1, 3, 100])
@pytest.mark.parametrize("way", ["knowing", "random_play"])
def test_the_number_of_slots_changes_nothing(
    household_games: list[PlayableGame], knowing: Decide, way: str, slots: int
) -> None:
    decide = knowing if way == "knowing" else random_play

    def rollouts(slots: int) -> list[Episode]:
        return collect(Scripted(decide, slots), household_games)

    assert rollouts(slots) == rollouts(7)


def collect(agent: Scripted, games: Sequence[PlayableGame], *, branch_actions: int = 2) -> list[Episode]:
    return collect_rollouts(
        agent,
        games,
        per_game=1,
        max_steps=MAX_STEPS,
        branch_states=2,
        branch_actions=branch_actions,
        branch_continuations=2,
        branch_temperature=1.0,
        seed=5,
        monitor=SilentMonitor(),
    )


def test_branches_continue_their_parents(household_games: list[PlayableGame]) -> None:
    agent = Scripted(random_play)
    episodes = collect(agent, household_games)
    whole = {episode.episode_id: episode for episode in episodes if episode.parent is None}
    tried: dict[tuple[str, int], list[str]] = {}
    assert set(agent.asked) == {DRAWN}
    assert len({episode.episode_id for episode in episodes}) == len(episodes)
    for branch in episodes[len(whole) :]:
        parent = whole[str(branch.parent)]
        assert branch.game == parent.game
        assert branch.turns[: branch.start] == parent.turns[: branch.start]
        assert branch.own_turns
        tried.setdefault((parent.episode_id, branch.start), []).append(branch.own_turns[0].action)
    assert len(tried) == 2 * len(whole)
    for actions in tried.values():
        assert actions[0] == actions[1] != actions[2] == actions[3], "two actions, two continuations of each"


def test_the_papers_way_has_no_branches(household_games: list[PlayableGame]) -> None:
    episodes = collect(Scripted(random_play), household_games, branch_actions=0)
    assert episodes == run(Scripted(random_play), whole_episodes(household_games, 1))


def test_where_all_agree_there_is_no_branch(household_games: list[PlayableGame], knowing: Decide) -> None:
    class Sure(Scripted):
        def propose(self, slots: Sequence[int], candidates: int, temperature: float) -> list[list[Response]]:
            return [[answers[0]] * candidates for answers in super().propose(slots, candidates, temperature)]

    episodes = run(Scripted(knowing), whole_episodes(household_games, 1))
    assert not branched(Sure(knowing), episodes, household_games)
    assert branched(Scripted(knowing), episodes, household_games)


def branched(agent: Scripted, episodes: Sequence[Episode], games: Sequence[PlayableGame]) -> list[Start]:
    return branches(
        agent,
        episodes,
        games,
        states=2,
        actions=3,
        continuations=2,
        temperature=1.0,
        seed=0,
        monitor=SilentMonitor(),
    )


@pytest.mark.parametrize("clear", [1, 2])
def test_answers_that_cannot_be_parsed_are_not_tried(
    household_games: list[PlayableGame], knowing: Decide, clear: int
) -> None:
    class Mumbling(Scripted):
        """Two of its answers have no agreed form and one was cut; the others say `clear` different things."""

        def propose(self, slots: Sequence[int], candidates: int, temperature: float) -> list[list[Response]]:
            said = super().propose(slots, candidates, temperature)
            return [
                [Response("Hm."), replace(others[-1], cut=True), own, Response("Perhaps?"), *others[:clear]]
                for own, *others in said
            ]

    episodes = run(Scripted(knowing), whole_episodes(household_games, 1))
    starts = branched(Mumbling(knowing), episodes, household_games)
    tried: dict[tuple[str | None, int], set[str]] = {}
    for start in starts:
        assert start.response
        answer = parse_answer(start.response.text)
        assert answer.parsed
        assert not start.response.cut
        tried.setdefault((start.parent, len(start.turns)), set()).add(answer.action)
    if clear == 1:
        assert not tried, "one thing that is clear leaves nothing to compare it with"
    else:
        assert {len(actions) for actions in tried.values()} == {2}


def in_turn(*commands: str) -> Decide:
    """Says some commands one after the other, again and again."""
    return lambda first, turns, observation: write_answer("So it goes.", commands[len(turns) % len(commands)])


@pytest.mark.parametrize("patience", [2, 5])
def test_patience_ends_an_episode_at_that_repetition(household_games: list[PlayableGame], patience: int) -> None:
    (episode,) = run(Scripted(in_turn("look")), whole_episodes(household_games[:1], 1), patience=patience)
    assert len(episode.turns) == patience
    assert len({turn.observation for turn in episode.turns}) == 1
    assert episode.truncated
    assert not episode.won


def test_what_is_repeated_need_not_follow_upon_itself(household_games: list[PlayableGame]) -> None:
    starts = whole_episodes(household_games[:1], 1)
    (episode,) = run(Scripted(in_turn("look", "inventory")), starts, patience=3)
    assert [turn.action for turn in episode.turns] == ["look", "inventory", "look", "inventory", "look"]
    (longer,) = run(Scripted(in_turn("look", "inventory")), starts, patience=None)
    assert len(longer.turns) == MAX_STEPS, "without a limit it plays on"


def test_with_another_reply_it_is_no_repetition(household_games: list[PlayableGame]) -> None:
    commands = household_games[0].environment().reset().admissible_commands
    ways = [command for command in commands if command.startswith("go to ")][:3]
    walk = [command for way in ways for command in ("look", way)]
    (episode,) = run(Scripted(in_turn(*walk)), whole_episodes(household_games[:1], 1), max_steps=6, patience=2)
    assert [turn.action for turn in episode.turns] == walk
    assert len({turn.observation for turn in episode.turns if turn.action == "look"}) == 3


def test_inherited_turns_count_as_repetitions(household_games: list[PlayableGame]) -> None:
    game = household_games[0]
    (parent,) = run(Scripted(in_turn("look")), whole_episodes([game], 1), max_steps=2)
    answer = Response(parent.turns[0].response)
    starts = [Start("on", game, parent.turns, parent="p"), Start("over", game, parent.turns, answer, parent="p")]
    over, on = sorted(run(Scripted(in_turn("inventory", "look")), starts, patience=3), key=lambda e: len(e.turns))
    assert (over.episode_id, len(over.turns)) == ("over", 3), "its first answer is the third of the kind"
    assert (on.episode_id, [turn.action for turn in on.own_turns]) == ("on", ["inventory", "look"])


def test_a_win_is_a_win_whatever_the_patience(household_games: list[PlayableGame], knowing: Decide) -> None:
    starts = whole_episodes(household_games, 1)
    assert run(Scripted(knowing), starts, patience=2) == run(Scripted(knowing), starts)


def test_a_state_that_does_not_come_back_is_an_error(household_games: list[PlayableGame], knowing: Decide) -> None:
    (episode,) = run(Scripted(knowing), whole_episodes(household_games[:1], 1))
    changed = (replace(episode.turns[0], observation="The room is empty."), *episode.turns[1:])
    with pytest.raises(RuntimeError, match=r"does not replay: after .* expected 'The room is empty\.', got"):
        run(Scripted(knowing), [Start("again", household_games[0], changed)])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), slots=st.integers(1, 9), max_steps=st.integers(1, 8))
def test_every_start_gives_exactly_one_episode(
    household_games: list[PlayableGame], knowing: Decide, data: st.DataObject, slots: int, max_steps: int
) -> None:
    whole = {e.game: e for e in run(Scripted(knowing), whole_episodes(household_games, 1))}
    starts = []
    for i, game in enumerate(data.draw(st.lists(st.sampled_from(household_games), max_size=12))):
        # Some begin with a winning answer, and some where they may not go on: they are over at once.
        turns = whole[game.id].turns
        inherited = data.draw(st.integers(0, len(turns) - 1))
        answer = data.draw(st.sampled_from([None, Response(turns[inherited].response, (7, 8)), Response("Hm.")]))
        starts.append(Start(str(i), game, turns[:inherited], answer, parent="p"))
    episodes = {e.episode_id: e for e in run(Scripted(random_play, slots), starts, max_steps)}
    assert len(episodes) == len(starts)
    for start in starts:
        episode = episodes[start.episode_id]
        assert (episode.game, episode.start, episode.parent) == (start.game.id, len(start.turns), "p")
        assert episode.turns[: episode.start] == start.turns
        if start.response:
            first = episode.own_turns[0]
            assert (first.response, first.tokens) == (start.response.text, start.response.tokens)
        assert episode.won or len(episode.turns) >= max_steps
        assert episode.truncated is not episode.won, "these games end only when they are won"


def test_the_report_by_hand(household_games: list[PlayableGame], knowing: Decide) -> None:
    won = run(Scripted(knowing), whole_episodes(household_games[:2], 1))
    lost = run(Scripted(nonsense), whole_episodes(household_games[2:3], 1))
    branch = replace(won[0], episode_id="b", parent=won[0].episode_id, start=1, reward=0.0)
    report = report_on([*won, *lost, branch], Usage(90, 10, 0.5), max_parse_failures=0.9, min_wins=2, min_losses=2)
    turns = sum(len(episode.own_turns) for episode in [*won, *lost, branch])
    assert report.metrics == {
        "episodes": 4,
        "whole_episodes": 3,
        "resets": 0,
        "branches": 1,
        "decisions": turns,
        "success_rate": pytest.approx(2 / 3),
        "mean_actions": pytest.approx(sum(len(episode.turns) for episode in [*won, *lost]) / 3),
        "parse_failures": pytest.approx(MAX_STEPS / turns),
        "inadmissible_actions": pytest.approx(MAX_STEPS / turns),
        **SEEN.metrics(),
        "tokens": 100,
        "tokens_read": 90,
        "tokens_drawn": 10,
        "environment_seconds": 0.5,
    }
    assert all(gate.passed for gate in report.gates)


def test_a_state_stays_what_it_was_while_the_game_goes_on(household_games: list[PlayableGame], knowing: Decide) -> None:
    """And what an agent makes of it by its own turns is the game's own account."""
    begun: list[State] = []
    grown: dict[int, State] = {}

    class Keeping(Scripted):
        def begin(self, slot: int, state: State) -> None:
            super().begin(slot, state)
            begun.append(state)
            grown[slot] = state

        def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
            super().observe(slot, turn, observation)
            grown[slot] = grown[slot].after(turn, observation)

    agent = Keeping(knowing, slots=1)
    (episode,) = play(agent, whole_episodes(household_games[:1], 1), max_steps=5, total=1, monitor=SilentMonitor())
    assert [state.turns for state in begun] == [()]
    assert grown[0].turns == episode.turns[: len(grown[0].turns)]
    assert len(grown[0].turns) >= len(episode.turns) - 1
