"""Random play on real games."""

from itertools import pairwise

import pytest

from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.envs.alfworld.random_play import play_at_random
from agentprm_dagster.envs.alfworld.reasons import notice
from agentprm_dagster.envs.alfworld.tasks import MARK, parse_task
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Episode


def walk(
    game: PlayableGame, *, mistakes: float = 0.3, seed: int = 0, max_steps: int = 20, hindsight: bool = False
) -> Episode:
    return play_at_random(
        game, episode_id=f"{game.id}#w", max_steps=max_steps, mistakes=mistakes, seed=seed, hindsight=hindsight
    )


def test_the_seed_decides_everything(household_games: list[PlayableGame]) -> None:
    game = household_games[0]
    assert walk(game) == walk(game)
    assert walk(game) != walk(game, seed=1)


def test_an_episode_is_what_the_game_answers(household_games: list[PlayableGame]) -> None:
    for game in household_games[:4]:
        episode, environment = walk(game), game.environment()
        assert environment.reset().text == episode.first_observation
        for turn in episode.turns:
            assert environment.step(turn.action).text == turn.observation
            answer = parse_answer(turn.response)
            assert (answer.action, answer.reason) == (turn.action, turn.reason)
        assert episode.won or len(episode.turns) == 20
        assert episode.truncated is not episode.won


def test_hindsight_changes_the_task_and_the_reasons_alone(household_games: list[PlayableGame]) -> None:
    for game in household_games:
        plain, told = walk(game), walk(game, hindsight=True)
        assert told.first_observation.partition(MARK)[0] == plain.first_observation.partition(MARK)[0]
        for turn, before in zip(told.turns, plain.turns, strict=True):
            assert (turn.action, turn.observation, turn.admissible) == (
                before.action,
                before.observation,
                before.admissible,
            )
            answer = parse_answer(turn.response)
            assert (answer.action, answer.reason) == (turn.action, turn.reason)


def test_the_task_is_about_what_was_met(household_games: list[PlayableGame]) -> None:
    found = 0
    for game in household_games:
        episode = walk(game, max_steps=60, hindsight=True)
        task, given = parse_task(episode.first_observation), parse_task(game.environment().reset().text)
        assert (task.task_type, task.receptacle) == (given.task_type, given.receptacle)
        met = {word for turn in episode.turns for word in turn.observation.split()}
        assert task.object in met
        assert not episode.won, "whether the game's own task was won says nothing about this one"
        found += any(turn.reason.startswith(f"Here is {task.object} ") for turn in episode.turns)
    assert found == len(household_games), "what the task is about is found in every episode"


def test_reasons_are_those_of_the_task_it_is_told_with(household_games: list[PlayableGame]) -> None:
    for episode in (walk(game, hindsight=True) for game in household_games):
        for i, turn in enumerate(episode.turns):
            assert turn.reason == notice(episode.first_observation, episode.turns[:i])


def test_where_nothing_was_met_the_task_stays(household_games: list[PlayableGame]) -> None:
    game = household_games[0]
    episode = walk(game, max_steps=1, mistakes=1, hindsight=True)
    assert episode.first_observation == game.environment().reset().text


def test_without_mistakes_every_command_is_admissible(household_games: list[PlayableGame]) -> None:
    turns = [turn for game in household_games[:6] for turn in walk(game, mistakes=0).turns]
    assert all(turn.admissible for turn in turns)
    assert not any(turn.action == "help" for turn in turns)
    assert len({turn.action.split()[0] for turn in turns}) > 4, "verbs vary"


@pytest.mark.parametrize("seed", range(3))
def test_mistakes_name_what_was_mentioned(household_games: list[PlayableGame], seed: int) -> None:
    episode = walk(household_games[seed], mistakes=1, seed=seed)
    said = episode.first_observation
    for turn in episode.turns:
        named = turn.action.split()
        assert all(f"{word} {number}" in said for word, number in pairwise(named) if number.isdigit())
        said += " " + turn.observation
    assert sum(turn.observation == "Nothing happens." for turn in episode.turns) > len(episode.turns) / 2
