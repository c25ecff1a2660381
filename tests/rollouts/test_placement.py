"""Where branches are placed: the scores by hand, the draw, and what it does to rollouts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Response, State
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.rollouts.branches import branches
from agentprm_dagster.rollouts.collect import whole_episodes
from agentprm_dagster.rollouts.placement import SCREENED, Placer, SpreadPlacer, disagreement, place, spread, uncertainty
from agentprm_dagster.rollouts.rollout import Start, play
from scripted import Scripted, knowing, random_play

STATES = 2


def test_spread_by_hand() -> None:
    look, again, go = (
        Response(write_answer(reason, command))
        for reason, command in (("So.", "look"), ("Otherwise.", "look"), ("So.", "go to desk 1"))
    )
    assert spread([look, again, go, go]) == pytest.approx(log(2))
    assert spread([look, go, go, go]) == pytest.approx(0.25 * log(4) + 0.75 * log(4 / 3))
    assert spread([look, look, Response("Hm.")]) == 0.0, "what has no command says nothing"
    assert spread([look, look, replace(go, cut=True)]) == 0.0, "nor does what was cut"
    assert spread([Response("Hm.")]) == 0.0


def test_what_values_say_by_hand() -> None:
    assert disagreement([0.2, 0.6]) == pytest.approx(0.2)
    assert disagreement([0.5, 0.5, 0.5]) == 0.0
    assert uncertainty([0.5, 0.9]) == pytest.approx((0.25 + 0.09) / 2)
    assert [score(values) for score in (disagreement, uncertainty) for values in ([], [0.5])] == [0.0] * 4


@given(st.lists(st.sampled_from([0.0, 0.1, 1.0]), max_size=30), st.integers(0, 40), st.integers(0, 5))
def test_states_of_some_score_are_placed_once(scores: list[float], count: int, seed: int) -> None:
    chosen = place(scores, count, np.random.default_rng(seed))
    assert chosen == sorted(set(chosen))
    assert all(scores[i] > 0 for i in chosen)
    assert len(chosen) == min(count, sum(score > 0 for score in scores))


def test_the_odds_are_the_scores() -> None:
    drawn = [place([1.0, 0.0, 3.0], 1, np.random.default_rng(seed))[0] for seed in range(400)]
    assert drawn.count(2) / 400 == pytest.approx(0.75, abs=0.07)


@dataclass
class Deep:
    """Scores a state by how many turns it lies behind the start; it notes what it was asked."""

    asked: int = 0
    turns: dict[int, int] = field(default_factory=dict)

    def begin(self, slot: int, state: State) -> None:
        self.turns[slot] = len(state.turns)

    def scores(self, answers: Sequence[Sequence[Response]], tried: Sequence[Sequence[Response]]) -> list[float]:
        self.asked += len(tried)
        return [float(self.turns[slot] >= 3) for slot in range(len(tried))]


@pytest.fixture(scope="module")
def episodes(household_games: list[PlayableGame]) -> list[Episode]:
    starts = whole_episodes(household_games, 1)
    return play(Scripted(random_play), starts, max_steps=12, total=12, monitor=SilentMonitor())


def branched(
    games: list[PlayableGame], episodes: list[Episode], placer: Placer | None, agent: Scripted | None = None
) -> list[Start]:
    return branches(
        agent or Scripted(random_play),
        episodes,
        games,
        states=STATES,
        actions=2,
        continuations=1,
        temperature=1.0,
        seed=0,
        monitor=SilentMonitor(),
        placer=placer,
    )


def test_branches_are_as_many_and_where_they_were_placed(
    household_games: list[PlayableGame], episodes: list[Episode]
) -> None:
    placer = Deep()
    placed, uniform = branched(household_games, episodes, placer), branched(household_games, episodes, None)
    assert len(placed) == len(uniform) == 2 * STATES * len(episodes)
    assert placer.asked == SCREENED * STATES * len(episodes), "screened"
    assert all(len(start.turns) >= 3 for start in placed)
    assert any(len(start.turns) < 3 for start in uniform)
    assert branched(household_games, episodes, Deep()) == placed
    by_id = {episode.episode_id: episode for episode in episodes}
    assert all(start.turns == by_id[str(start.parent)].turns[: len(start.turns)] for start in placed)


def test_the_number_of_slots_changes_nothing(household_games: list[PlayableGame], episodes: list[Episode]) -> None:
    one, many = (branched(household_games, episodes, Deep(), Scripted(random_play, slots)) for slots in (1, 100))
    assert one == many


def test_by_spread_only_where_answers_differ(household_games: list[PlayableGame], episodes: list[Episode]) -> None:
    class SureAtTheStart(Scripted):
        def propose(self, slots: Sequence[int], candidates: int, temperature: float) -> list[list[Response]]:
            said = super().propose(slots, candidates, temperature)
            return [
                each if self.conversations[slot][1] else each[:1] * candidates
                for slot, each in zip(slots, said, strict=True)
            ]

    agent = SureAtTheStart(random_play)
    placed = branched(household_games, episodes, SpreadPlacer(), agent)
    assert len(placed) == 2 * STATES * len(episodes), "there is enough elsewhere"
    assert all(start.turns for start in placed)
    assert not branched(household_games, episodes, SpreadPlacer(), Sure(knowing(household_games)))


class Sure(Scripted):
    """Always of one mind."""

    def propose(self, slots: Sequence[int], candidates: int, temperature: float) -> list[list[Response]]:
        return [[each[0]] * candidates for each in super().propose(slots, candidates, temperature)]
