"""Makes solvable games of all six task types in ALFWorld's own format, for those who have not downloaded the real ones.

The same arguments give the same bytes. Rooms are made up too: `train` and `valid_seen` share rooms, as in ALFRED, and
`valid_unseen` plays in rooms of its own.
"""

import json
import random
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from agentprm_dagster.envs.alfworld.errors import GamesCountError
from agentprm_dagster.envs.alfworld.game_data import TASK_FILE
from agentprm_dagster.envs.alfworld.games import GAME_FILE, GAMES_FOLDER
from agentprm_dagster.envs.alfworld.generate_pddl import game_data, problem_text, task_folder, trajectory
from agentprm_dagster.envs.alfworld.generate_rooms import furnish
from agentprm_dagster.envs.alfworld.generate_scenes import Scene, draw_scene
from agentprm_dagster.envs.alfworld.generate_tables import FIRST_ROOM, TASK_KINDS, Kind, Size
from agentprm_dagster.envs.alfworld.tasks import SPLITS, TASK_TYPES, Split, TaskType
from agentprm_dagster.envs.generated import generate_once

_FORMAT = 1
_ROOMS_OF_A_KIND = 99
_TRAIN_ROOMS_OF_A_KIND = 66


def generate_games(root: Path, *, seed: int, counts: Mapping[Split, int], size: Size) -> None:
    """Writes `counts[split]` games of every split under `root/json_2.1.1`, and the parameters to `root/generated.json`.

    Task types take turns, so that every split holds as many games of each. About 3 ms and 150 KB a game. The games
    appear all at once when the last is written; a call with the parameters already on record does nothing.

    Raises:
        TasksConflictError: `root` holds games made with other parameters, or games that were not generated.
        GamesCountError: no game is asked for; or games of seen rooms are, but rooms are varied, or fewer than six games
            of train are asked for, which show one of each task type.
    """
    if not any(counts.values()):
        raise GamesCountError(f"expected at least one game to generate, got {dict(counts)}")
    if counts.get("valid_seen") and counts.get("train", 0) < len(TASK_TYPES):
        raise GamesCountError(
            f"expected at least {len(TASK_TYPES)} train games, one of each task type, to take the rooms of valid_seen "
            f"from; got {counts.get('train', 0)}"
        )
    if counts.get("valid_seen") and size == "varied":
        raise GamesCountError(
            f"expected no game of valid_seen, got {counts['valid_seen']}: every game of size varied has a room of its "
            "own, which no game of train is played in"
        )
    parameters = {
        "format": _FORMAT,
        "seed": seed,
        "size": size,
        "counts": {split: counts.get(split, 0) for split in SPLITS},
        "alfworld": version("alfworld"),
    }
    generate_once(root, GAMES_FOLDER, parameters, partial(_write_all, parameters))


def _write_all(parameters: Mapping[str, Any], staging: Path) -> None:
    shutil.rmtree(staging, ignore_errors=True)
    for split, index, scene in _scenes(parameters["seed"], parameters["counts"], parameters["size"]):
        trial = f"trial_T{index:06d}"
        rng = random.Random(f"sentence {parameters['seed']} {split} {index}")
        _write_game(staging / split / task_folder(scene) / trial, scene, trial, rng)


def _scenes(seed: int, counts: Mapping[Split, int], size: Size) -> Iterator[tuple[Split, int, Scene]]:
    """All games, train first; `valid_seen` draws its rooms from those that train games of its task type play in."""
    trained: dict[TaskType, list[int]] = defaultdict(list)
    for split in SPLITS:
        for index in range(counts[split]):
            rng = random.Random(f"game {seed} {size} {split} {index}")
            task_type = TASK_TYPES[index % len(TASK_TYPES)]
            number = rng.choice(trained[task_type] if split == "valid_seen" else _rooms(seed, split, task_type, rng))
            if split == "train":
                trained[task_type].append(number)
            yield split, index, draw_scene(furnish(number, size, seed, f"{split} {index}"), task_type, size, rng)


def _rooms(seed: int, split: Split, task_type: TaskType, rng: random.Random) -> list[int]:
    """The rooms a split may use, of one kind that suits the task."""
    kind: Kind = rng.choice(TASK_KINDS[task_type])
    numbers = [FIRST_ROOM[kind] + i for i in range(_ROOMS_OF_A_KIND)]
    random.Random(f"rooms {seed} {kind}").shuffle(numbers)
    return numbers[_TRAIN_ROOMS_OF_A_KIND:] if split == "valid_unseen" else numbers[:_TRAIN_ROOMS_OF_A_KIND]


def _write_game(folder: Path, scene: Scene, trial: str, rng: random.Random) -> None:
    problem = problem_text(scene, trial)
    folder.mkdir(parents=True)
    (folder / TASK_FILE).write_text(json.dumps(trajectory(scene, trial), indent=1))
    (folder / "initial_state.pddl").write_text(problem)
    (folder / GAME_FILE).write_text(json.dumps(game_data(scene, problem, rng)))
