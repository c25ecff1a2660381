"""Monte-Carlo targets: from a rollout table to the table of targets, up to the authors' 73,728 rollouts of 20 turns."""

import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.envs.alfworld.household import Household
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.episodes.tables import iter_episodes, write_episodes
from benchmarks.json_targets import targets_of_json, write_json
from benchmarks.limits import copy_bytes
from benchmarks.measure import Row, compare, summarise
from benchmarks.workload import playable, scratch

ROLLOUTS, TURNS, PER_GAME = 73_728, 20, 8
AUTHORS_SHARE = 18
"""The baseline gets one in so many of the rollouts: its cost grows with them, and its memory too."""
GAMMA = 0.95


def run() -> list[Row]:
    """Decisions a second against the baseline; then seconds and memory at growing sizes, each in its own process."""
    folder = rollout_set(ROLLOUTS // AUTHORS_SHARE, TURNS)
    json_folder = folder / "json"
    write_json(iter_episodes(folder), json_folder)
    bytes_each = sum(path.stat().st_size for path in folder.glob("*.parquet")) / (ROLLOUTS // AUTHORS_SHARE * TURNS)
    against = compare(
        f"{ROLLOUTS // AUTHORS_SHARE} rollouts of {TURNS} turns",
        "decisions/s",
        lambda: ours(folder),
        lambda: len(targets_of_json(json_folder, GAMMA)) and ROLLOUTS // AUTHORS_SHARE * TURNS,
        limit=copy_bytes() / (2 * bytes_each),
    )
    sizes = [(ROLLOUTS // 4, TURNS), (ROLLOUTS // 4, 2 * TURNS), (ROLLOUTS, TURNS)]
    return [against, *(row for count, turns in sizes for row in grown(count, turns))]


def ours(folder: Path) -> float:
    """Targets of a rollout table; its decisions."""
    episodes = iter_episodes(folder)
    return len(mc_value_targets(episodes, gamma=GAMMA, held_out_games=0.15, seed=0))


def grown(count: int, turns: int) -> list[Row]:
    """Seconds and memory of a set of rollouts."""
    folder = rollout_set(count, turns)
    measured = [measure_apart(folder) for _ in range(1 if count == ROLLOUTS else 3)]
    name = f"{count} rollouts of {turns} turns"
    return [
        summarise(name, "s", [(seconds, None) for seconds, _ in measured], lower_is_better=True),
        summarise(name, "GB of memory", [(memory, None) for _, memory in measured], lower_is_better=True),
    ]


def measure_apart(folder: Path) -> tuple[float, float]:
    """Seconds and peak memory in GB of a process that makes the targets and writes them."""
    out = subprocess.run(
        [sys.executable, "-m", "benchmarks.targets", str(folder)], check=True, capture_output=True, text=True
    ).stdout.split()
    return float(out[0]), float(out[1])


def peak_memory() -> float:
    """The most memory that this process has held, in GB."""
    status = Path("/proc/self/status")
    if status.exists():  # the counter of getrusage goes back to before the process became this program
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30


def rollout_set(count: int, turns: int) -> Path:
    """A table of random episodes that never win before their last turn; half of them are called won."""
    folder = scratch() / f"rollouts-{count}-{turns}"
    if not folder.exists():
        folder.mkdir()
        write_episodes(random_episodes(count, turns), folder)
    return folder


def random_episodes(count: int, turns: int) -> Iterator[Episode]:
    """Episodes of real games by commands drawn at random, several of each game."""
    games = playable("train", min(count // PER_GAME, 500))
    rng = random.Random(0)
    for i in range(count):
        game = games[i // PER_GAME % len(games)]
        yield random_episode(f"{i:06d}", game, turns, rng)


def random_episode(episode_id: str, game: PlayableGame, turns: int, rng: random.Random) -> Episode:
    """One of them."""
    house: Household = game.environment()
    observation = first = house.reset()
    played = []
    while len(played) < turns:
        before = house.snapshot()
        command = rng.choice(observation.admissible_commands)
        observation = house.step(command)
        if observation.done:
            observation = house.restore(before)
        else:
            response = f"REASON: I try something.\nACTION: {command}"
            played.append(Turn("I try something.", command, observation.text, response))
    return Episode(episode_id, game.id, game.kind, first.text, tuple(played), reward=float(rng.random() < 0.5))


if __name__ == "__main__":
    from time import perf_counter

    start = perf_counter()
    source = Path(sys.argv[1])
    table = mc_value_targets(iter_episodes(source), gamma=GAMMA, held_out_games=0.15, seed=0)
    table.to_parquet(source / "targets.parquet", index=False)
    print(perf_counter() - start, peak_memory())
