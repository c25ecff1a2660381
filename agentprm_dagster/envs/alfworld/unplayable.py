"""Which games cannot be played, and why: told from their files before any is played, a third of a millisecond each."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from agentprm_dagster.envs.alfworld.errors import GameFileError, OldWordingError, OtherGoalError
from agentprm_dagster.envs.alfworld.game_data import TASK_FILE, read_game_data, read_task_file
from agentprm_dagster.envs.alfworld.game_file import read_task
from agentprm_dagster.envs.alfworld.games import GameRef
from agentprm_dagster.envs.alfworld.tasks import MARK, TaskError, parse_task

_WHY: Mapping[type[GameFileError], str] = {
    OldWordingError: "have the wording of alfworld before 0.4",
    OtherGoalError: "have goals in other sentences than ALFWorld's",
    GameFileError: "are not as ALFWorld's games are",
}


def refuse_unplayable(games: Sequence[GameRef], *, to_be_explained: bool) -> None:
    """GameFileError where not all of these games can be played: how many, the first of them, and what to do.

    `to_be_explained`: also where a demonstrator's reasons could not be worded, since a goal is in people's own words.
    """
    for why, found in sort_out(games).items():
        error = found[0][1]
        if to_be_explained or not isinstance(error, OtherGoalError):
            raise GameFileError(f"{len(found)} of {len(games)} games {why}. The first: {error}") from error


def sort_out(games: Iterable[GameRef]) -> dict[str, list[tuple[GameRef, GameFileError]]]:
    """The games with something wrong, by what it is: those that no engine here plays, and those with other goals."""
    sorted_out: dict[str, list[tuple[GameRef, GameFileError]]] = defaultdict(list)
    for game in games:
        if error := _fault(game.path, game.path.stat().st_mtime_ns):
            sorted_out[_WHY.get(type(error), _WHY[GameFileError])].append((game, error))
    return sorted_out


@lru_cache(maxsize=2**14)
def _fault(path: Path, changed: int) -> GameFileError | None:
    """What is wrong with a game's files as they were when `changed`: a stage asks again what the last one asked."""
    try:
        sentence = read_task(path, read_game_data(path)["grammar"])
        read_task_file(path.with_name(TASK_FILE))
    except GameFileError as error:
        return type(error)(*error.args)  # without the frames that it was raised in, which hold the file
    try:
        parse_task(f"{MARK}{sentence}")
    except TaskError as error:
        return OtherGoalError(
            f"{path}: {error}. A demonstrator's reasons are worded by it: make the games with `alfworld-generate` and "
            "goal_desc_human_anns_prob 0, or fetch them with `agentprm games download`"
        )
    return None
