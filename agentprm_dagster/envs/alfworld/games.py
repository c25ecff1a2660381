"""ALFWorld games on disk: which there are, which rooms they play in, and how a set of them is named.

A data root holds `json_2.1.1/<split>/<task>-<object>-<movable>-<receptacle>-<room>/<trial>/game.tw-pddl`, the layout
of ALFWorld's own release; generated games lie in the same layout.
"""

import hashlib
import os
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentprm_dagster.envs.alfworld.errors import BrokenGameError, GamesCountError, GamesNotFoundError
from agentprm_dagster.envs.alfworld.game_data import EXPECTED, TASK_FILE, read_json, size_of
from agentprm_dagster.envs.alfworld.tasks import TASK_TYPES, Split
from agentprm_dagster.envs.base import TaskRef

GAMES_FOLDER = "json_2.1.1"
GAME_FILE = "game.tw-pddl"

_TAIL_BYTES = 4096
_HOLD_OUT_DRAWS = 64


@dataclass(frozen=True)
class GameRef(TaskRef):
    """One game, before it is loaded.

    Its id is `<split>/<task folder>/<trial>`, the game's folder relative to the root's `json_2.1.1` in posix form, its
    kind is the first part of the task folder's name, and its path that of the game file, `game.tw-pddl`.
    """

    split: Split
    """The split whose folder holds it."""
    room: int
    """The floor plan, the last part of the task folder's name: 1 to 199 are kitchens, 2xx living rooms, 3xx bedrooms
    and 4xx bathrooms."""


def data_root() -> Path:
    """The folder that holds `json_2.1.1`: $ALFWORLD_DATA, else ALFWorld's own default, ~/.cache/alfworld.

    Raises:
        GamesNotFoundError: there is no `json_2.1.1`.
    """
    return root_of(named_root())


def named_root() -> Path:
    """What $ALFWORLD_DATA names, else ALFWorld's default; it need not exist.

    Where there is no such folder, quotes and spaces around the name, `~` and `$HOME` mean what they do in a shell.
    """
    named = os.environ.get("ALFWORLD_DATA", "")
    if named.strip() and Path(named).is_dir():
        return Path(named)
    plain = named.strip().strip("\"'").strip() or "~/.cache/alfworld"
    return Path(os.path.expanduser(os.path.expandvars(plain)))  # noqa: PTH111  # fails for no name


def root_of(folder: Path) -> Path:
    """The data root that a folder means: itself, or the one that it lies in where it is `json_2.1.1` or part of it.

    Raises:
        GamesNotFoundError: there is no `json_2.1.1`; names the one that lies next to the folder, if any.
    """
    whole = folder.absolute()
    for root in (folder, *whole.parents):
        inside = root == folder or whole.relative_to(root).parts[0] == GAMES_FOLDER
        if inside and (root / GAMES_FOLDER).is_dir():
            return root
    raise _not_found(folder / GAMES_FOLDER, next(folder.glob(f"*/{GAMES_FOLDER}/"), None))


def find_games(root: Path, split: Split) -> tuple[GameRef, ...]:
    """The games of a split that the stock `AlfredTWEnv` would play, sorted by id.

    Like it, leaves out tasks with movable receptacles or sliced objects, games without `traj_data.json`, and games
    not marked solvable. Game files are not parsed: the mark is looked for in the file's last bytes, where every
    release writes it.

    Raises:
        GamesNotFoundError: the split's folder is missing or holds no game.
        BrokenGameError: a game file is cut short or is no JSON object, or its folder's name ends with no room.
    """
    folder = root / GAMES_FOLDER / split
    found = (_game_ref(path, split) for path in folder.glob(f"*/*/{GAME_FILE}"))
    games = tuple(sorted((game for game in found if game and is_solvable(game.path)), key=lambda game: game.id))
    if not games:
        raise _not_found(folder)
    return games


def is_solvable(path: Path) -> bool:
    """Whether a game file is marked solvable, without parsing it where its tail tells.

    Raises:
        BrokenGameError: the file is cut short or is no JSON object.
    """
    size = size_of(path)
    with path.open("rb") as file:
        file.seek(max(0, size - _TAIL_BYTES))
        if b'"solvable": true' in file.read():
            return True
    return read_json(path, EXPECTED).get("solvable") is True


def games_digest(games: Iterable[TaskRef]) -> str:
    """sha256, in hex, over ids and what is read of the games: their files, and the task that experts are told.

    The order of the games does not matter. About a second for ALFWorld's 3,553 training games (350 MB).
    """
    digest = hashlib.sha256()
    for game in sorted(games, key=lambda game: game.id):
        files = (_sha256(path) for path in (game.path, game.path.with_name(TASK_FILE)))
        digest.update("\0".join((game.id, *files, "\n")).encode())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hold_out_rooms(
    games: Sequence[GameRef], fraction: float, seed: int
) -> tuple[tuple[GameRef, ...], tuple[GameRef, ...]]:
    """Splits games by room into (kept, held out), both sorted by id; no room is on both sides.

    Of each kind of room (kitchens, living rooms, bedrooms, bathrooms) the same fraction is held out, at least one
    and never all where there are two. Among several seeded draws the first is taken that shows most task types on
    both sides. Depends only on the set of games and the seed.

    Raises:
        GamesCountError: no kind of room has two rooms.
        ValueError: `fraction` is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"expected the fraction of rooms to hold out between 0 and 1, got {fraction}")
    rng = random.Random(seed)
    kinds = _rooms_by_kind(games)
    draws = [_draw_rooms(kinds, fraction, rng) for _ in range(_HOLD_OUT_DRAWS)]
    best = max(draws, key=lambda held: _spread(games, held))
    if not best:
        raise GamesCountError(f"no kind of room has two rooms in these {len(games)} games, so none can be held out")
    ordered = sorted(games, key=lambda game: game.id)
    return (
        tuple(game for game in ordered if game.room not in best),
        tuple(game for game in ordered if game.room in best),
    )


def _game_ref(path: Path, split: Split) -> GameRef | None:
    task_folder, trial = path.parts[-3:-1]
    task_type, _, rest = task_folder.partition("-")
    game_id = f"{split}/{task_folder}/{trial}"
    if task_type not in TASK_TYPES or "movable" in game_id or "Sliced" in game_id:
        return None
    if not path.with_name(TASK_FILE).is_file():
        return None
    room = rest.rpartition("-")[2]
    if not re.fullmatch("[0-9]{1,6}", room):
        raise BrokenGameError(f"expected a task folder that ends with its room, as in ...-Mug-None-Desk-308: {path}")
    return GameRef("alfworld", game_id, task_type, path, split, int(room))


def _not_found(folder: Path, near: Path | None = None) -> GamesNotFoundError:
    root = f"{near.parent}" if near else f"the folder that holds {GAMES_FOLDER}"
    return GamesNotFoundError(
        f"expected ALFWorld games in {folder}, found none; get them with `agentprm games download`, make some with "
        f"`agentprm games generate`, or set ALFWORLD_DATA to {root}"
    )


def _rooms_by_kind(games: Iterable[GameRef]) -> list[list[int]]:
    kinds: dict[int, set[int]] = defaultdict(set)
    for game in games:
        kinds[max(1, game.room // 100)].add(game.room)
    return [sorted(kinds[kind]) for kind in sorted(kinds)]


def _draw_rooms(kinds: Sequence[Sequence[int]], fraction: float, rng: random.Random) -> frozenset[int]:
    held: set[int] = set()
    for rooms in kinds:
        if len(rooms) > 1:
            count = min(max(1, round(fraction * len(rooms))), len(rooms) - 1)
            held.update(rng.sample(rooms, count))
    return frozenset(held)


def _spread(games: Iterable[GameRef], held: frozenset[int]) -> int:
    return len({(game.kind, game.room in held) for game in games})
