"""The baseline of targets: one JSON file a rollout, and a dictionary from a state and action, written out, to returns.

The state is the whole history as text, as it stands in the prompt, so that every turn repeats all turns before it.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import mean

from agentprm_dagster.episodes.records import Episode


def write_json(episodes: Iterable[Episode], folder: Path) -> None:
    """One file an episode."""
    folder.mkdir(parents=True)
    for i, episode in enumerate(episodes):
        turns = [{"action": turn.action, "observation": turn.observation} for turn in episode.turns]
        record = {"game": episode.game, "first": episode.first_observation, "won": episode.won, "turns": turns}
        (folder / f"{i:06d}.json").write_text(json.dumps(record), encoding="utf-8")


def targets_of_json(folder: Path, gamma: float) -> dict[tuple[str, str], float]:
    """The mean discounted outcome of every (state, action) in the folder's rollouts."""
    returns: dict[tuple[str, str], list[float]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        turns = record["turns"]
        for t, turn in enumerate(turns):
            history = "".join(f"\n> {before['action']}\n{before['observation']}" for before in turns[:t])
            state = f"{record['game']}\n{record['first']}{history}"
            returns[state, turn["action"]].append(gamma ** (len(turns) - 1 - t) * record["won"])
    return {pair: mean(values) for pair, values in returns.items()}
