"""Demonstrators: they win, find out what the player did, and say why by what was shown."""

import random
from itertools import pairwise
from typing import Any

import pytest

from agentprm_dagster.envs.base import ExpertGaveUp
from agentprm_dagster.envs.textworld.kind import KIND
from agentprm_dagster.envs.textworld.language import REFUSAL
from agentprm_dagster.envs.textworld.playable import PlayableGame
from agentprm_dagster.envs.textworld.reasons import explain
from agentprm_dagster.episodes.records import Turn
from agentprm_dagster.rollouts.demonstrations import demonstrate

MOST = {"cooking": 10, "coin_collector": 12, "treasure_hunter": 16}
"""Commands that the demonstrator who searches takes at most."""
COIN = "The objective is to take the coin in room36.\n\n-= Room2 =-\nYou are in the room2."
RECIPE = (
    'You open the copy of "Cooking: A Modern Approach (3rd Ed.)" and start reading:\nRecipe #1\n---------\n'
    "Gather all following ingredients and follow the directions to prepare this tasty meal.\nIngredients:\n"
    "red potato\nsalt\nDirections:\ndice the red potato\nroast the red potato\nprepare meal"
)
MEAL = "You are hungry! Let's cook a delicious meal.\n\n-= Corridor =-\nYou are in the corridor."


def turn(action: str, observation: str) -> Turn:
    return Turn("", action, observation, "")


def shown(game: PlayableGame, name: str, seed: int = 0) -> list[Turn]:
    """A demonstration with its reasons."""
    environment, expert = game.environment(), game.expert(name, seed)
    seen = first = environment.reset()
    turns: list[Turn] = []
    while not seen.done:
        action = expert.act(seen)
        assert seen.admits(action)
        reason = KIND.explain(first.text, turns, action)
        seen = environment.step(action)
        turns.append(Turn(reason, action, seen.text, ""))
    assert seen.won
    return turns


@pytest.mark.parametrize("name", KIND.experts)
def test_they_win_every_game(games: list[PlayableGame], name: str) -> None:
    for game in games:
        assert max(len(shown(game, name, seed)) for seed in range(3)) <= MOST[game.kind]


def test_who_searches_never_takes_fewer_commands(games: list[PlayableGame]) -> None:
    lengths = [[len(shown(game, name)) for game in games] for name in KIND.experts]
    assert all(searching >= knowing for searching, knowing in zip(*lengths, strict=True))
    assert sum(lengths[0]) > sum(lengths[1])


def test_who_searches_knows_only_the_rooms_it_has_been_in(games: list[PlayableGame]) -> None:
    """It leaves a dead end by the way it came, and goes nowhere twice while a way is untried beside it."""
    back = {"go north": "go south", "go south": "go north", "go east": "go west", "go west": "go east"}
    for game in games:
        if game.kind != "cooking":
            turns = shown(game, "search")
            for before, after in pairwise(turns):
                exits = before.observation.count("There is an exit")
                if exits == 1 and after.action in back:
                    assert after.action == back[before.action]


def test_the_recipe_is_read_before_anything_is_touched(games: list[PlayableGame]) -> None:
    for game in games:
        if game.kind == "cooking":
            for name in KIND.experts:
                actions = [each.action for each in shown(game, name)]
                first = next(i for i, action in enumerate(actions) if not action.startswith(("go ", "open ")))
                assert actions[first] == "examine cookbook"


@pytest.mark.parametrize("name", KIND.experts)
@pytest.mark.parametrize("is_told", [True, False])
def test_they_recover_from_what_the_player_did_instead(games: list[PlayableGame], name: str, is_told: bool) -> None:
    ends = []
    for seed, game in enumerate(games * 2):
        environment, rng = game.environment(), random.Random(seed)
        expert: Any = game.expert(name, seed)
        seen, played = environment.reset(), None
        for _ in range(60):
            advice = expert.act(seen, played) if is_told else expert.act(seen)
            assert seen.admits(advice)
            played = rng.choice([advice, advice, rng.choice(seen.commands), "take nonsense"])
            seen = environment.step(played)
            if seen.done:
                break
        ends.append((seen.done, seen.won))
    assert (False, False) not in ends
    assert ends.count((True, True)) >= 0.7 * len(ends), "others have lost: they burnt or ate what was needed"


def test_mistakes_cannot_be_done_and_are_recovered_from(games: list[PlayableGame]) -> None:
    """Half of the demonstrator's turns have one before them; what is sought, and ways, are what they are about."""
    mistakes = []
    for seed, game in enumerate(games):
        episode = demonstrate(game, KIND, episode_id="e", expert="search", max_steps=60, seed=seed, action_noise=0.5)
        assert episode.won
        mistakes += [turn for turn in episode.turns if not turn.admissible]
    assert {turn.observation for turn in mistakes} == {REFUSAL}
    assert {turn.action.split()[0] for turn in mistakes} == {"go", "take"}
    assert {turn.reason.split(" ")[0] for turn in mistakes} >= {"I", "Here"}


def test_they_give_up_where_there_is_nothing_to_say(coin: PlayableGame, cooking: PlayableGame) -> None:
    environment, expert = coin.environment(), coin.expert("policy", 0)
    seen = environment.reset()
    while not seen.done:
        seen = environment.step(expert.act(seen))
    with pytest.raises(ExpertGaveUp, match="the game is over"):
        expert.act(seen)
    lost = coin.expert("policy", 0)
    lost.act(environment.reset())
    with pytest.raises(ExpertGaveUp, match="no command leads to"):
        lost.act(cooking.environment().reset())


def test_seeds_decide_where_is_looked_first(games: list[PlayableGame]) -> None:
    ways = {tuple(each.action for each in shown(game, "search", seed)) for game in games for seed in range(6)}
    assert len(ways) > len(games)
    assert shown(games[1], "search", 3) == shown(games[1], "search", 3)


def test_reasons_are_one_sentence(games: list[PlayableGame]) -> None:
    for game in games:
        for each in shown(game, "search"):
            assert each.reason.endswith(".")
            assert "\n" not in each.reason
            assert len(each.reason) < 100


def test_a_search_is_told_by_what_is_looked_for() -> None:
    there, dead_end = turn("go west", "-= Room13 =-\nYou are in the room13."), turn("go north", "-= Room1 =-")
    assert explain(COIN, [], "go west") == "I look for the coin."
    assert explain(COIN, [there], "go east") == "The coin is not here."
    assert explain(COIN, [there, turn("go east", "-= Room2 =-")], "go south") == "I look for the coin."
    assert explain(COIN, [there, dead_end, turn("go south", "-= Room13 =-")], "go east") == "The coin is not here."
    assert explain(COIN, [turn("go west", "Nothing happens.")], "go east") == "I look for the coin."
    assert explain(COIN, [there], "take coin") == "Here is the coin."
    assert explain(COIN, [there], "take key") == "I try the key."


def test_ways_that_were_not_gone_are_named() -> None:
    def room(name: str, *ways: str) -> str:
        return f"-= {name} =-\nYou are in the {name}.\n" + " ".join(f"There is an exit to the {way}." for way in ways)

    first = f"The objective is to take the coin in room36.\n\n{room('Room2', 'east', 'north')}"
    hall, end = room("Hall", "east", "south", "west"), room("End", "west")
    assert explain(first, [], "go east") == "I look for the coin, and have not been east or north."
    turns = [turn("go east", hall)]
    assert explain(first, turns, "go south") == "I look for the coin, and have not been east or south."
    turns += [turn("go east", end)]
    assert explain(first, turns, "go west") == "The coin is not here."
    turns += [turn("go north", "Nothing happens."), turn("go west", hall)]
    assert explain(first, turns, "go south") == "I look for the coin, and have not been south."
    turns += [turn("go west", room("Room2", "east", "north"))]
    assert explain(first, turns, "go north") == "I look for the coin, and have not been north."


@pytest.mark.parametrize(
    "task",
    ["Your objective is to retrieve the old key from the floor of the bar.",
     "Welcome to TextWorld! Your task for today is to pick-up the old key from the floor of the spare room.",
     "Hey, thanks for coming over to TextWorld! Please recover the old key in the attic.",
     "Get ready to pick stuff up, because you've just entered TextWorld! Lift the old key from the floor of the pub."],
)  # fmt: skip
def test_what_is_looked_for_is_found_in_chatter(task: str) -> None:
    assert explain(f"{task}\n\n-= Pub =-", [], "go west") == "I look for the old key."


def test_cooking_is_told_by_the_recipe() -> None:
    turns = [turn("examine cookbook", RECIPE)]
    assert explain(MEAL, [], "go west") == "I look for the cookbook."
    assert explain(MEAL, [], "open front door") == "I look for the cookbook."
    assert explain(MEAL, [], "examine cookbook") == "I must know the recipe."
    assert explain(MEAL, turns, "open fridge") == "I look for the red potato."
    assert explain(MEAL, turns, "take red potato from counter") == "Here is the red potato."
    assert explain(MEAL, turns, "take egg from counter") == "I try the egg."
    turns.append(turn("take red potato from counter", "You take the red potato from the counter."))
    assert explain(MEAL, turns, "go west") == "I look for the salt."
    turns.append(turn("take salt", "You pick up the salt from the ground."))
    assert explain(MEAL, turns, "go west") == "I must dice the red potato."
    assert explain(MEAL, turns, "take knife from table") == "Here is the knife."
    assert explain(MEAL, turns, "cook red potato with oven") == "I must roast the red potato."
    assert explain(MEAL, turns, "chop red potato with knife") == "I must dice the red potato."
    turns.append(turn("cook red potato with oven", "You roasted the red potato."))
    assert explain(MEAL, turns, "cook red potato with oven") == "I try to cook the red potato."
    turns.append(turn("dice red potato with knife", "You dice the red potato."))
    assert explain(MEAL, turns, "go west") == "All is done."
    assert explain(MEAL, turns, "prepare meal") == "All is done."
    assert explain(MEAL, turns, "eat meal") == "The meal is ready."
    assert explain(MEAL, turns, "drop knife") == "I do not need the knife."
    assert explain(MEAL, turns, "put salt on table") == "I do not need the salt."
    assert explain(MEAL, [*turns, turn("drop salt", "You drop the salt on the ground.")], "go west") == (
        "I look for the salt."
    )
    assert explain(MEAL, turns, "inventory") == "I look around."
