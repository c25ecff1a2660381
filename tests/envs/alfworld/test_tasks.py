"""Tasks read from first observations."""

import pytest
from alfworld.gen.goal_library import gdict

from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.envs.alfworld.tasks import TASK_TYPES, Task, TaskError, parse_task, task_sentence

SENTENCES = {
    "put a mug in shelf": Task("pick_and_place_simple", "mug", "shelf"),
    "put some mug on shelf": Task("pick_and_place_simple", "mug", "shelf"),
    "look at bowl under the desklamp": Task("look_at_obj_in_light", "bowl", "desklamp"),
    "examine the bowl with the desklamp": Task("look_at_obj_in_light", "bowl", "desklamp"),
    "put a clean plate in cabinet": Task("pick_clean_then_place_in_recep", "plate", "cabinet"),
    "clean some plate and put it in cabinet": Task("pick_clean_then_place_in_recep", "plate", "cabinet"),
    "put a hot egg in fridge": Task("pick_heat_then_place_in_recep", "egg", "fridge"),
    "heat some egg and put it in fridge": Task("pick_heat_then_place_in_recep", "egg", "fridge"),
    "put a cool pan in stoveburner": Task("pick_cool_then_place_in_recep", "pan", "stoveburner"),
    "cool some pan and put it in stoveburner": Task("pick_cool_then_place_in_recep", "pan", "stoveburner"),
    "put two cd in safe": Task("pick_two_obj_and_place", "cd", "safe"),
    "find two cd and put them in safe": Task("pick_two_obj_and_place", "cd", "safe"),
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_every_sentence(sentence: str) -> None:
    first = f"You are in a room.\n\nYour task is to: {sentence}."
    assert task_sentence(first) == sentence
    assert parse_task(first) == SENTENCES[sentence]


def test_alfworld_has_no_other_sentences() -> None:
    for task_type in TASK_TYPES:
        ours = {sentence: task for sentence, task in SENTENCES.items() if task.task_type == task_type}
        names = {name: next(iter(ours.values())) for name in ("obj", "recep", "toggle")}
        words = {"obj": names["obj"].object, "recep": names["recep"].receptacle, "toggle": names["toggle"].receptacle}
        assert {template.format(**words) for template in gdict[task_type]["templates"]} == ours.keys()


def test_the_task_read_is_the_task_set(household_games: list[PlayableGame]) -> None:
    for game in household_games:
        assert parse_task(game.environment().reset().text).task_type == game.kind


def test_a_first_observation_without_a_task_is_refused() -> None:
    with pytest.raises(TaskError, match=r"with 'Your task is to: ' in it, got 'You are in a room\.'"):
        task_sentence("You are in a room.")


def test_an_unknown_sentence_is_refused() -> None:
    with pytest.raises(TaskError, match=r"expected one of ALFWorld's task sentences .*, got 'fry an egg'"):
        parse_task("Your task is to: fry an egg.")
