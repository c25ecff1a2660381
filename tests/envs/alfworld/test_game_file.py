"""Game files that are broken, or play by other rules than the household's, are refused by name."""

from pathlib import Path
from typing import Any

import pytest

from agentprm_dagster.envs.alfworld.errors import GameFileError
from agentprm_dagster.envs.alfworld.game_file import Game
from kitchen import kitchen, write


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"pddl_domain": "(def', "expected a JSON object with the keys pddl_domain, .*`agentprm games download`"),
        ([1], "got a JSON list"),
        ({**kitchen(), "grammar": None}, "nothing fitting for grammar"),
        ({key: value for key, value in kitchen().items() if key != "solvable"}, "nothing fitting for solvable"),
        ({**kitchen(), "solvable": False}, "expected a solvable game"),
        ({**kitchen(), "pddl_problem": "(define)"}, r"a problem without \(:init"),
    ],
)
def test_broken_files_are_refused_by_name(tmp_path: Path, content: Any, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(GameFileError, match=message) as error:
        Game.load(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("key", "old", "new", "message"),
    [
        ("grammar", "move {o} to {r}", "put {o} in/on {r}", "wording of alfworld before 0.4.*games download"),
        ("grammar", "You close the {r.name}.", "Shut.", "grammar that says"),
        ("grammar", "examine {o}", "inspect {o}", 'command "examine {o}"'),
        ("grammar", "Your task is to: ", "Your task is to:", 'grammar that says "Your task is to: "'),
        ("pddl_domain", "(:action help", "(:action shout", "the actions .*'shout'"),
        ("pddl_problem", "(inReceptacle ?o ?r)", "(holds ?a ?o)", "a goal of other atoms"),
        ("pddl_problem", "(atLocation agent1 loc_bar_0)", "", "0 times an agent at a place"),
        (
            "pddl_problem",
            "(:init",
            "(:init (receptacleAtLocation Shelf_bar_1 loc_bar_0)",
            "2 times a place of shelf_bar_1",
        ),
        ("pddl_problem", "(:init", "(:init (openable Fridge_bar_1 Mug_bar_1)", r"the fact \(openable fridge_bar_1"),
    ],
)
def test_games_with_other_rules_are_refused(tmp_path: Path, key: str, old: str, new: str, message: str) -> None:
    content = kitchen()
    assert old in content[key]
    with pytest.raises(GameFileError, match=message):
        Game.load(write(tmp_path, {**content, key: content[key].replace(old, new)}))


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Game.load(tmp_path / "game.tw-pddl")
