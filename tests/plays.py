"""Plays of ALFWorld's games."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentprm_dagster.config import Rollouts
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.launch.play import Play


def play_of(policy: Path, how: Rollouts, games: Sequence[PlayableGame] = (), *, seed: int = 0, **rest: Any) -> Play:
    """A policy plays these games."""
    return Play(
        policy=policy,
        iteration=0,
        environment="alfworld",
        split="train",
        games=tuple(game.ref for game in games),
        dialogue="append",
        how=how,
        seed=seed,
        **rest,
    )
