"""Parity of the household engine with the stock one: `python -m benchmarks.parity --games 210 --episodes 5 --steps 50`.

Plays the same commands on both engines and compares text, admissible commands, won and done at every step, over games
of all six task types. The stock engine runs in its memoised form (`envs/alfworld/memoised.py`: the same planner,
grammar and wrappers, with each string parsed once); the episodes of the first `--plain-games` games are
played once more on the stock engine exactly as it ships. Exits with 1 where anything differs.
"""

import argparse
import json
import multiprocessing
import random
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from agentprm_dagster.envs.alfworld.errors import GamesNotFoundError
from agentprm_dagster.envs.alfworld.games import GameRef, data_root, find_games
from agentprm_dagster.envs.alfworld.tasks import SPLITS, TASK_TYPES, Split
from benchmarks.parity_episodes import Comparison, compare_games

COLUMNS = ("stock engine", "task type", "games", "episodes", "steps", "won", "mismatches")
_SHARE = 4
"""How many games a worker plays before it reports."""


def main() -> int:
    """Runs the comparison and reports; answers the exit code."""
    options = _options()
    console = Console(stderr=True)
    games = choose_games(options.data or data_root(), options.games, options.seed)
    comparisons = {
        "memoised": _compare(games, True, options, console),
        "plain": _compare(games[: options.plain_games], False, options, console),
    }
    rows = [row for engine, played in comparisons.items() for row in summary(engine, played)]
    console.print(_table(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["mismatches"] for row in rows))


def choose_games(root: Path, n: int, seed: int) -> list[Path]:
    """n game files out of all splits there are, the six task types in turn; depends only on the games and the seed.

    Raises:
        GamesNotFoundError: no split holds a game.
    """
    found = [game for split in SPLITS for game in _games(root, split)]
    if not found:
        raise GamesNotFoundError(f"expected games in a split of {root}, found none in {', '.join(SPLITS)}")
    random.Random(seed).shuffle(found)
    by_type = [[game.path for game in found if game.kind == task_type] for task_type in TASK_TYPES]
    turns = range(max(map(len, by_type)))
    return [paths[turn] for turn in turns for paths in by_type if turn < len(paths)][:n]


def summary(engine: str, played: Sequence[Comparison]) -> list[dict[str, Any]]:
    """One row for each task type and one for all, with the keys of `COLUMNS`."""
    groups = {kind: [one for one in played if one.task_type == kind] for kind in TASK_TYPES} | {"all": list(played)}
    return [
        {
            "stock engine": engine,
            "task type": name,
            "games": len({one.game for one in group}),
            "episodes": len(group),
            "steps": sum(len(one.commands) for one in group),
            "won": sum(one.won for one in group),
            "mismatches": sum(one.difference is not None for one in group),
        }
        for name, group in groups.items()
        if group
    ]


def _games(root: Path, split: Split) -> tuple[GameRef, ...]:
    try:
        return find_games(root, split)
    except GamesNotFoundError:
        return ()


def _compare(games: Sequence[Path], memoised: bool, options: argparse.Namespace, console: Console) -> list[Comparison]:
    """Compares share by share, in as many processes as there are workers; prints every mismatch as it is met."""
    play = partial(_play, episodes=options.episodes, steps=options.steps, seed=options.seed, memoised=memoised)
    shares = [games[start : start + _SHARE] for start in range(0, len(games), _SHARE)]
    spawn = multiprocessing.get_context("spawn")
    played = []
    with Progress(console=console) as progress, ProcessPoolExecutor(options.workers, mp_context=spawn) as pool:
        form = "memoised" if memoised else "plain"
        for share in progress.track(pool.map(play, shares), total=len(shares), description=f"{form} stock engine"):
            played += share
            for one in share:
                if one.difference:
                    progress.console.print(f"{one.game} after {one.commands}: {one.difference}", markup=False)
    return played


def _play(games: Sequence[Path], **how: Any) -> list[Comparison]:
    return list(compare_games(games, **how))


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*(str(row[column]) for column in COLUMNS), style="bold" if row["task type"] == "all" else None)
    return table


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity", description="Compares the two engines.")
    parser.add_argument("--games", type=int, default=60, help="how many games, the six task types in turn")
    parser.add_argument("--episodes", type=int, default=5, help="episodes a game; five are one of each walk")
    parser.add_argument("--steps", type=int, default=50, help="at most so many commands an episode")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="the folder that holds json_2.1.1; default: $ALFWORLD_DATA")
    parser.add_argument("--json", type=Path, help="write the table there, too")
    parser.add_argument("--plain-games", type=int, default=6, help="games played on the plain stock engine as well")
    parser.add_argument("--workers", type=int, default=1, help="stock engines at the same time")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
