"""What the benchmarks work on: games, and a policy and its rollouts as an experiment would have them.

ALFWorld's own games where they are found, else generated ones of the same size. The policy is the embedded model with
its default sizes, fine-tuned for a minute: its answers are as long as those of a real one, and it loses often enough
for episodes of the full length.
"""

import random
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from agentprm_dagster.config import Model, Sft
from agentprm_dagster.envs.alfworld.errors import GamesNotFoundError
from agentprm_dagster.envs.alfworld.games import GameRef, data_root, find_games
from agentprm_dagster.envs.alfworld.generate import generate_games
from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.envs.alfworld.tasks import Split
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.launch.job import Job
from agentprm_dagster.rollouts.collect import collect_rollouts
from agentprm_dagster.rollouts.demonstrations import collect_demonstrations
from benchmarks.noisy_expert import NoisyExpert

DEMONSTRATIONS = 600
SFT = Sft(epochs=2, learning_rate=2e-3, batch_episodes=4)


@cache
def scratch() -> Path:
    """A folder for what is made on the way."""
    return Path(mkdtemp(prefix="agentprm-bench-"))


@cache
def games(split: Split) -> list[GameRef]:
    """The games of a split, shuffled."""
    found = list(find_games(_root(), split))
    random.Random(0).shuffle(found)
    return found


@cache
def _root() -> Path:
    try:
        return data_root()
    except GamesNotFoundError:
        made = scratch() / "games"
        generate_games(made, seed=0, counts={"train": 600, "valid_seen": 60}, size="full")
        return made


def playable(split: Split, count: int) -> list[PlayableGame]:
    """So many games of a split, ready to be played, their files read."""
    chosen = [PlayableGame(ref) for ref in games(split)[:count]]
    for game in chosen:
        game.environment()
    return chosen


@cache
def policy(heads: int = Model().heads) -> Path:
    """The checkpoint of the policy, with so many heads."""
    from agentprm_dagster.training.sft import train_initial_policy

    out = scratch() / f"policy_of_{heads}_heads"
    shown = collect_demonstrations(
        playable("train", DEMONSTRATIONS),
        KIND,
        expert="handcoded_corrected",
        episodes=DEMONSTRATIONS,
        max_steps=30,
        seed=0,
        monitor=SilentMonitor(),
    )
    sizes = Model(heads=heads)
    train_initial_policy(shown, (), sizes, SFT, KIND.wording, out, dialogue="append", job=Job(seed=0))
    return out


@cache
def noisy_rollouts(count: int) -> list[Episode]:
    """Whole episodes of so many training games by an expert who errs, with branches: some won, some lost."""
    played = playable("train", count)
    return collect_rollouts(
        NoisyExpert(played),
        played,
        per_game=1,
        max_steps=30,
        branch_states=3,
        branch_actions=4,
        branch_continuations=1,
        branch_temperature=1.0,
        seed=0,
        monitor=SilentMonitor(),
    )
