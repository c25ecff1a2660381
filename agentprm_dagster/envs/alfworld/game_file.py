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
from typing import Self

from agentprm_dagster.envs.alfworld import wording
from agentprm_dagster.envs.alfworld.errors import OldWordingError
from agentprm_dagster.envs.alfworld.game_data import MAKE_AGAIN, read_game_data, refusal
from agentprm_dagster.envs.alfworld.house import House
from agentprm_dagster.envs.alfworld.house_reader import read_house
from agentprm_dagster.envs.alfworld.pddl import read_actions, read_problem
from agentprm_dagster.envs.alfworld.tasks import TaskType

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
            GameFileError: it is broken, unsolvable, would run code on the stock engine, or has other rules than those
                of alfworld 0.4 and later.
        """
        data = read_game_data(path)
        task = read_task(path, data["grammar"])
        try:
            return cls(
                path=path,
                task=task,
                walkthrough=tuple(data["walkthrough"]),
                house=read_house(read_problem(data["pddl_problem"]), _appliances(data["pddl_domain"])),
            )
        except ValueError as error:
            raise refusal(path, "one of ALFWorld's games", str(error), _USE_STOCK) from error


def read_task(path: Path, grammar: str) -> str:
    """The task sentence of a grammar that speaks as the household does; GameFileError where it speaks otherwise."""
    _check_words(path, grammar)
    found = _TASK.search(grammar)
    if not found:
        raise refusal(path, f'a sentence that starts with "{wording.TASK}"', "none", MAKE_AGAIN)
    try:
        return str(json.loads(found[1])).removeprefix(wording.TASK)
    except ValueError as error:
        raise refusal(path, "a task sentence", f"{found[1]!r} ({error})", MAKE_AGAIN) from error


def _check_words(path: Path, grammar: str) -> None:
    templates = dict(_TEMPLATE.findall(grammar))
    if templates.get("PutObject", "").startswith("put "):
        raise OldWordingError(
            f'{path}: expected the command "{_TEMPLATES["PutObject"]}", got "{templates["PutObject"]}". This is the '
            f"wording of alfworld before 0.4. {MAKE_AGAIN}"
        )
    for action, template in _TEMPLATES.items():
        if templates.get(action) != template:
            raise refusal(path, f'the command "{template}" ({action})', repr(templates.get(action)), _USE_STOCK)
    for sentence in wording.SENTENCES:
        if sentence not in grammar:
            raise refusal(path, f'a grammar that says "{sentence}"', "one without it", _USE_STOCK)


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
