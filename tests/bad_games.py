"""Games and folders of games that nothing can be played from."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bad_inputs import BadInput, Prepare
from kitchen import kitchen, write

SPLIT = Path("data") / "json_2.1.1" / "valid_seen"
GAME = str(SPLIT / "pick_and_place_simple-Mug-None-CounterTop-1" / "trial_1" / "game.tw-pddl")
CODE = "__import__('pathlib').Path('RAN').touch()"
ARRIVE = "You arrive at {r.name}. "
WELCOME = "-= Welcome to TextWorld, ALFRED! =-"

CODE_IN_A_GRAMMAR: dict[str, tuple[str, str]] = {
    "in a reply": (ARRIVE, f"{ARRIVE}{{str({CODE})}}"),
    "in the first words": (WELCOME, f"{WELCOME}{{{CODE}}}"),
    "beside what is allowed": ("You close the {r.name}.", f"You close the {{r.name or {CODE}}}."),
    "in another's attribute": ("You close the {r.name}.", "You close the {r.__class__.__mro__}."),
    "in a list": (ARRIVE, f"{ARRIVE}[{{{CODE} | inreceptacle(o:object, r:receptacle)}}]"),
    "behind a rule": (ARRIVE, f"{ARRIVE}{{#overview(o)# {CODE}}}"),
    "in letters by number": (WELCOME, rf"{WELCOME}\u007b{CODE}\u007d"),
    "in a command": ('template :: "look"', f'template :: "look{{{CODE}}}"'),
    "over two lines": ('template :: "look"', f'template :: "look{{{CODE}\n | at(a:agent)}}"'),
    "in the name of a reply": ('feedback :: "#look.feedback#"', f'feedback :: "{{{CODE}}}#look.feedback#"'),
    "in a key": ('"overview(r)": [', f'"overview({{{CODE}}})": ['),
    "in a brace left open": (WELCOME, f"{WELCOME}{{{CODE}"),
    "behind a comment's quote": ("action look {", f'# "\n# {{{CODE}}}\naction look {{'),
    "in the task": ("Your task is to: ", f"Your task is to: {{{CODE}}}"),
    "calling a name": ("You close the {r.name}.", "You close the {exit()}."),
    "formatting": ("You close the {r.name}.", "You close the {r.name!r}."),
    "indexing": ("You close the {r.name}.", "You close the {r.name [0]}."),
}
"""What is replaced by what in the grammar of a good game."""


def with_code(where: str) -> dict[str, Any]:
    """A game file's content that runs code where TextWorld reads it."""
    old, new = CODE_IN_A_GRAMMAR[where]
    content = kitchen()
    assert old in content["grammar"], where
    return {**content, "grammar": content["grammar"].replace(old, new, 1)}


def game(content: Any, task: str | None = None) -> Prepare:
    """Puts one game into the data folder, and what is beside it."""

    def prepare(folder: Path) -> None:
        path = write(folder / SPLIT, content)
        if task is not None:
            path.with_name("traj_data.json").write_text(task, encoding="utf-8")

    return prepare


def in_place_of_the_game(make: Callable[[Path], object]) -> Prepare:
    """Puts something that is no file where a game's file would be."""

    def prepare(folder: Path) -> None:
        path = write(folder / SPLIT, kitchen())
        path.unlink()
        make(path)

    return prepare


def _changed(key: str, old: str, new: str) -> dict[str, Any]:
    content = kitchen()
    assert old in content[key], old
    return {**content, key: content[key].replace(old, new)}


def _large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**30)


OLD = _changed("grammar", "move {o} to {r}", "put {o} in/on {r}")
BROKEN: dict[str, tuple[Prepare, str]] = {
    "cut short": (game(json.dumps(kitchen())[:-4000]), "expected a JSON object with the keys"),
    "empty": (game(""), "expected a JSON object with the keys"),
    "a list": (game([1]), "got a JSON list"),
    "a pointer": (game("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"), "expected a JSON object"),
    "100,000 levels": (game("[" * 100_000), "expected a JSON object"),
    "5,000 digits": (game('{"solvable": ' + "9" * 5000 + "}"), "expected a JSON object"),
    "no grammar": (game({**kitchen(), "grammar": None}), "nothing fitting for grammar"),
    "a number for a walkthrough": (game({**kitchen(), "walkthrough": 5}), "nothing fitting for walkthrough"),
    "numbers in the walkthrough": (game({**kitchen(), "walkthrough": [1, 2]}), "a walkthrough of commands"),
    "not solvable": (game({**kitchen(), "solvable": False}), "a solvable game"),
    "the old wording": (game(OLD), "the wording of alfworld before 0.4"),
    "other words": (game(_changed("grammar", "You close the {r.name}.", "Shut.")), "a grammar that says"),
    "other actions": (game(_changed("pddl_domain", "(:action help", "(:action shout")), "the actions"),
    "no facts": (game({**kitchen(), "pddl_problem": "(define)"}), "a problem without (:init"),
    "another goal": (game(_changed("pddl_problem", "(inReceptacle ?o ?r)", "(holds ?a ?o)")), "a goal of other atoms"),
    "no agent": (game(_changed("pddl_problem", "(atLocation agent1 loc_bar_0)", "")), "0 times an agent"),
    "two places": (
        game(_changed("pddl_problem", "(:init", "(:init (atLocation agent1 loc_bar_1)")),
        "2 times a place of agent1",
    ),
    "a folder": (in_place_of_the_game(Path.mkdir), "no game"),
    "a pipe": (in_place_of_the_game(os.mkfifo), "no game"),
    "a gigabyte": (in_place_of_the_game(_large), "a file of at most 16777216 bytes"),
    "a link to nothing": (in_place_of_the_game(lambda path: path.symlink_to("nowhere")), "no game"),
    "a link to itself": (in_place_of_the_game(lambda path: path.symlink_to(path)), "game.tw-pddl"),
}
"""How a game is broken, and what is said of it when it is to be played."""

FOLDERS: dict[str, tuple[Prepare | None, str]] = {
    "nothing": (None, "expected ALFWorld games in /data/json_2.1.1, found none"),
    "a file": (lambda folder: (folder / "data").write_text("x"), "/data/json_2.1.1, found none"),
    "no split": (lambda folder: (folder / "data" / "json_2.1.1").mkdir(parents=True), "train, found none"),
    "one folder too high": (
        lambda folder: (folder / "data" / "alfworld" / "json_2.1.1").mkdir(parents=True),
        "or set ALFWORLD_DATA to /data/alfworld",
    ),
    "a broken game": (BROKEN["cut short"][0], "expected a JSON object with the keys"),
    "a pipe for a game": (BROKEN["a pipe"][0], "expected a file, got something else"),
    "a gigabyte for a game": (BROKEN["a gigabyte"][0], "at most 16777216 bytes"),
    "a room without a number": (
        lambda folder: write(folder / SPLIT, kitchen()).parents[1].rename(folder / SPLIT / "pick_and_place_simple-Mug"),
        "ends with its room",
    ),
}
"""What ALFWORLD_DATA holds, and what is said when its games are listed."""

BAD_GAMES = (
    *(
        BadInput(f"{engine}: code {where}", ("play", GAME, "--engine", engine), (GAME, "Python"), prepare=game(content))
        for where, content in ((where, with_code(where)) for where in CODE_IN_A_GRAMMAR)
        for engine in ("household", "alfworld")
    ),
    *(
        BadInput(f"game: {name}", ("play", GAME), ("game.tw-pddl", words), prepare=prepare)
        for name, (prepare, words) in BROKEN.items()
    ),
    *(
        BadInput(f"games: {name}", ("games", "list"), (words,), prepare=prepare)
        for name, (prepare, words) in FOLDERS.items()
    ),
)
