"""A process that rolls out some shards of games with one thread; several of them use several cores.

A small model gains nothing from a second thread and everything from a second process. `python -m` this module with
the path of a job; progress goes to stdout as JSON lines. It ends when its standard input closes: no orphan survives
whoever started it.
"""

import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agentprm_dagster.config import Experiment
from agentprm_dagster.core.rollout import Agent, Playable, collect_rollouts
from agentprm_dagster.core.stage import Monitor
from agentprm_dagster.core.tables import write_episodes
from agentprm_dagster.core.types import Episode
from agentprm_dagster.envs.games import GameRef

SHARD_GAMES = 256
"""Games rolled out together. Seeds belong to shards, so that the number of processes does not change the result."""


@dataclass(frozen=True)
class Shard:
    """Some games, their seed, and where their episodes go."""

    games: list[GameRef]
    seed: int
    out: Path


def make_shards(games: Sequence[GameRef], seed: int, out: Path) -> list[Shard]:
    """Cuts the games into shards, each with a folder of its own below `out`."""
    parts = [games[first : first + SHARD_GAMES] for first in range(0, len(games), SHARD_GAMES)]
    return [Shard(list(part), seed + i, out / f"{i:04d}") for i, part in enumerate(parts)]


def roll_out(
    agent: Agent, games: Sequence[Playable], experiment: Experiment, *, seed: int, monitor: Monitor
) -> list[Episode]:
    """One shard's rollouts, as the experiment says."""
    settings = experiment.rollouts
    return collect_rollouts(
        agent,
        games,
        per_game=settings.per_game,
        max_steps=settings.max_steps,
        branch_states=settings.branch_states,
        branch_actions=settings.branch_actions,
        branch_continuations=settings.branch_continuations,
        branch_temperature=settings.branch_temperature,
        seed=seed,
        monitor=monitor,
        keep_candidates=experiment.dialogue.format == "restated",
    )


def write_job(path: Path, checkpoint: Path, experiment: Experiment, shards: Sequence[Shard]) -> None:
    """Writes what one worker is to do."""
    job = {
        "checkpoint": str(checkpoint),
        "experiment": experiment.model_dump(mode="json"),
        "shards": [asdict(shard) for shard in shards],
    }
    path.write_text(json.dumps(job, default=str), encoding="utf-8")


class _StdoutMonitor:
    """Progress as JSON lines."""

    def progress(self, done: int, total: int, what: str) -> None:
        print(json.dumps({"done": done, "total": total, "what": what}), flush=True)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """A rollout has none."""


def _read_shard(fields: dict[str, Any]) -> Shard:
    games = [GameRef(**{**game, "path": Path(game["path"])}) for game in fields["games"]]
    return Shard(games, fields["seed"], Path(fields["out"]))


def _leave_when_stdin_closes() -> None:
    sys.stdin.read()
    os._exit(1)


def main(path: Path) -> None:
    """Does the job written at `path`."""
    threading.Thread(target=_leave_when_stdin_closes, daemon=True).start()
    import torch

    from agentprm_dagster.envs.playable import PlayableGame
    from agentprm_dagster.inference.policy import Policy
    from agentprm_dagster.models import checkpoints

    torch.set_num_threads(1)
    job = json.loads(path.read_text(encoding="utf-8"))
    experiment, checkpoint = Experiment.model_validate(job["experiment"]), Path(job["checkpoint"])
    model, tokenizer = checkpoints.load_policy(checkpoint), checkpoints.load_tokenizer(checkpoint)
    settings = experiment.rollouts
    for shard in map(_read_shard, job["shards"]):
        agent = Policy(
            model,
            tokenizer,
            dialogue=experiment.dialogue.format,
            slots=settings.slots,
            temperature=settings.temperature,
            max_new_tokens=settings.max_new_tokens,
            seed=shard.seed,
        )
        games = [PlayableGame(game) for game in shard.games]
        episodes = roll_out(agent, games, experiment, seed=shard.seed, monitor=_StdoutMonitor())
        shard.out.mkdir(parents=True)
        write_episodes(episodes, shard.out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
