"""Demonstrations that look into the likeliest places first."""

from functools import partial
from pathlib import Path

import pytest

from agentprm_dagster.envs.alfworld.games import find_games
from agentprm_dagster.envs.alfworld.generate import generate_games
from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.envs.alfworld.reasons import Progress
from agentprm_dagster.envs.alfworld.tasks import parse_task
from agentprm_dagster.envs.base import EnvironmentKind
from agentprm_dagster.envs.textworld.kind import KIND as TEXTWORLD
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.rollouts.demonstrations import Demonstration, collect_demonstrations
from agentprm_dagster.rollouts.likeliest_first import likeliest_first

GAMES = 60


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> list[PlayableGame]:
    folder: Path = tmp_path_factory.mktemp("games")
    generate_games(folder, seed=0, counts={"train": GAMES}, size="varied")
    return [PlayableGame(ref) for ref in find_games(folder, "train")]


@pytest.fixture(scope="module")
def shown(games: list[PlayableGame]) -> list[Episode]:
    return collect_demonstrations(
        games, KIND, expert="handcoded_corrected", episodes=GAMES, max_steps=80, seed=0, monitor=SilentMonitor()
    )


def copied(
    episodes: list[Episode],
    games: list[PlayableGame],
    copies: int = 1,
    seed: int = 0,
    kind: EnvironmentKind = KIND,
    action_noise: float = 0.0,
    place_noise: float = 0.0,
) -> list[Episode]:
    begin = partial(Demonstration, kind=KIND, max_steps=80, action_noise=action_noise, place_noise=place_noise)
    return likeliest_first(episodes, games, kind, begin, copies=copies, seed=seed, monitor=SilentMonitor())


def test_copies_win_in_far_fewer_actions(shown: list[Episode], games: list[PlayableGame]) -> None:
    won = [episode for episode in shown if episode.won]
    copies = [copy for copy in copied(shown, games) if "~" in copy.episode_id]
    assert len(won) >= 0.9 * GAMES
    assert len(copies) >= 0.95 * len(won)
    assert all(copy.won for copy in copies)
    assert sum(len(copy.turns) for copy in copies) < 0.6 * sum(len(episode.turns) for episode in won)


def test_they_are_what_the_engine_replies(shown: list[Episode], games: list[PlayableGame]) -> None:
    by_id = {game.id: game for game in games}
    for copy in copied(shown[:20], games, action_noise=0.1, place_noise=0.1):
        environment = by_id[copy.game].environment()
        observation = environment.reset()
        assert copy.first_observation == observation.text
        for turn in copy.turns:
            answer = parse_answer(turn.response)
            assert (answer.action, answer.reason) == (turn.action, turn.reason)
            assert observation.admits(turn.action) == turn.admissible
            observation = environment.step(turn.action)
            assert observation.text == turn.observation
        assert observation.won == copy.won


def test_nowhere_is_looked_twice_for_the_first_object(shown: list[Episode], games: list[PlayableGame]) -> None:
    for copy in copied(shown, games):
        if "~" not in copy.episode_id:
            continue
        task, searched = parse_task(copy.first_observation), []
        for t, turn in enumerate(copy.turns):
            if Progress(task, copy.turns[:t]).held:
                break
            searched += [turn.action] if turn.action.startswith("go to") else []
        assert len(searched) == len(set(searched))


def test_a_place_at_hand_is_tried_and_then_looked_into(shown: list[Episode], games: list[PlayableGame]) -> None:
    refused = 0
    for copy in copied(shown, games):
        for turn, then in zip(copy.turns, copy.turns[1:], strict=False):
            if not turn.admissible:
                refused += 1
                assert (turn.observation, turn.action[:6]) == ("Nothing happens.", "go to ")
                assert then.action == f"examine {turn.action.removeprefix('go to ')}"
                assert then.reason.startswith("The ")
    assert refused


def test_mistakes_stand_in_copies_and_are_recovered_from(shown: list[Episode], games: list[PlayableGame]) -> None:
    copies = [copy for copy in copied(shown, games, copies=2, action_noise=0.2) if "~" in copy.episode_id]
    turns = [turn for copy in copies for turn in copy.turns]
    assert 0.1 < sum(not turn.admissible for turn in turns) / len(turns) < 0.4
    assert len({tuple(turn.action for turn in copy.turns) for copy in copies}) > len(copies) / 2


def test_every_demonstration_is_there_and_lost_ones_as_they_were(
    shown: list[Episode], games: list[PlayableGame]
) -> None:
    lost = Episode("lost#0", games[0].id, "k", "", (), reward=0.0)
    found = copied([*shown, lost], games, copies=3)
    names = [copy.episode_id.partition("~")[0] for copy in found]
    assert set(names) == {*(episode.episode_id for episode in shown), "lost#0"}
    assert lost in found
    assert len({copy.episode_id for copy in found}) == len(found)
    assert len(found) > 2.5 * len(shown)


def test_the_seed_alone_decides(shown: list[Episode], games: list[PlayableGame]) -> None:
    some = shown[:8]
    assert copied(some, games, seed=1, place_noise=0.3) == copied(some, games, seed=1, place_noise=0.3)
    assert copied(some, games, seed=1, place_noise=0.3) != copied(some, games, seed=2, place_noise=0.3)


def test_who_knows_no_order_is_refused(shown: list[Episode]) -> None:
    with pytest.raises(TypeError, match="knows where to look first, got textworld"):
        copied(shown, [], kind=TEXTWORLD)
