"""Reading `game.tw-pddl`: ALFWorld's game files, parsed once into an immutable `Game` that all episodes share.

A game file is JSON with the keys pddl_domain, grammar, pddl_problem, solvable and walkthrough; it carries its own
rules. The household engine knows the rules of alfworld 0.4 and later and checks that a file has them.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from agentprm_dagster.core.types import TaskType
from agentprm_dagster.envs import wording
from agentprm_dagster.envs.errors import GameFileError
from agentprm_dagster.envs.house import House
from agentprm_dagster.envs.house_reader import read_house
from agentprm_dagster.envs.pddl import read_actions, read_problem

_KEYS = {"pddl_domain": str, "grammar": str, "pddl_problem": str, "solvable": bool, "walkthrough": list}
_TEMPLATES = {
    "GotoLocation": "go to [{r.name | receptacleatlocation(r:receptacle, lend:location)}]",
    "OpenObject": "open {r}",
    "CloseObject": "close {r}",
    "PickupObject": "take {o} from {r}",
    "PutObject": "move {o} to {r}",
    "CleanObject": "clean {o} with {r}",
    "HeatObject": "heat {o} with {r}",
    "CoolObject": "cool {o} with {r}",
    "ToggleObject": "use {o}",
    "SliceObject": "slice {co} with {ko}",
    "examineReceptacle": "examine {r}",
    "examineObject": "examine {o}",
    "look": "look",
    "inventory": "inventory",
    "help": "help",
}
_TEMPLATE = re.compile(r'action\s+(\w+)\s*\{\s*template\s*::\s*"([^"]*)"')
_TASK = re.compile(r'"rhs":\s*("' + wording.TASK + r'(?:[^"\\]|\\.)*")')
_APPLIANCE = re.compile(r"\(receptacletype \?r (\w+)\)")

_MAKE_AGAIN = "Fetch the games again with `agentprm games download`, or make some with `agentprm games generate`."
_USE_STOCK = "Play it on the stock engine instead (engine: alfworld)."


@dataclass(frozen=True, slots=True, eq=False)
class Game:
    """A game file, ready to be played by any number of `Household`s. Never changes; `load` takes a few ms."""

    path: Path
    task: str
    """The task sentence: "put a clean mug in shelf."."""
    walkthrough: tuple[str, ...]
    """Commands that win from the start."""
    house: House

    @property
    def task_type(self) -> TaskType:
        """Which of the six kinds of task this is."""
        return self.house.goal.task_type

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a game file.

        Raises:
            FileNotFoundError: there is no such file.
            GameFileError: it is broken, unsolvable, or has other rules than those of alfworld 0.4 and later.
        """
        data = _read(path)
        _check_words(path, data["grammar"])
        try:
            return cls(
                path=path,
                task=_read_task(data["grammar"]),
                walkthrough=tuple(data["walkthrough"]),
                house=read_house(read_problem(data["pddl_problem"]), _appliances(data["pddl_domain"])),
            )
        except ValueError as error:
            raise _error(path, "one of ALFWorld's games", str(error), _USE_STOCK) from error


def _read(path: Path) -> dict[str, Any]:
    expected = f"a JSON object with the keys {', '.join(_KEYS)}"
    try:
        data = json.loads(path.read_bytes())
    except ValueError as error:
        raise _error(path, expected, f"{path.stat().st_size} bytes of something else ({error})", _MAKE_AGAIN) from error
    if not isinstance(data, dict):
        raise _error(path, expected, f"a JSON {type(data).__name__}", _MAKE_AGAIN)
    wrong = [key for key, kind in _KEYS.items() if not isinstance(data.get(key), kind)]
    if wrong:
        raise _error(path, expected, f"nothing fitting for {', '.join(wrong)}", _MAKE_AGAIN)
    if not data["solvable"]:
        raise _error(path, "a solvable game", '"solvable": false', "Leave this game out, as the stock engine does.")
    return data


def _check_words(path: Path, grammar: str) -> None:
    templates = dict(_TEMPLATE.findall(grammar))
    if templates.get("PutObject", "").startswith("put "):
        remedy = f"This is the wording of alfworld before 0.4. {_MAKE_AGAIN}"
        raise _error(path, f'the command "{_TEMPLATES["PutObject"]}"', f'"{templates["PutObject"]}"', remedy)
    for action, template in _TEMPLATES.items():
        if templates.get(action) != template:
            raise _error(path, f'the command "{template}" ({action})', repr(templates.get(action)), _USE_STOCK)
    for sentence in wording.SENTENCES:
        if sentence not in grammar:
            raise _error(path, f'a grammar that says "{sentence}"', "one without it", _USE_STOCK)


def _read_task(grammar: str) -> str:
    found = _TASK.search(grammar)
    if not found:
        raise ValueError(f'a grammar without a sentence that starts with "{wording.TASK}"')
    return str(json.loads(found[1])).removeprefix(wording.TASK)


@lru_cache(maxsize=8)
def _appliances(domain: str) -> Mapping[str, frozenset[str]]:
    """Receptacle type to the treatments it does; raises ValueError where the domain has other actions than ours."""
    actions = read_actions(domain)
    if set(actions) != {name.lower() for name in _TEMPLATES}:
        raise ValueError(f"the actions {sorted(actions)}")
    treatments: dict[str, set[str]] = defaultdict(set)
    for verb in ("clean", "heat", "cool"):
        for kind in _APPLIANCE.findall(actions[f"{verb}object"]):
            treatments[kind].add(verb)
    return {kind: frozenset(verbs) for kind, verbs in treatments.items()}


def _error(path: Path, expected: str, got: str, remedy: str) -> GameFileError:
    return GameFileError(f"{path}: expected {expected}, got {got}. {remedy}")
