"""The stock engine's side of the pipe: `python -m agentprm_dagster.envs.alfworld.stock_worker [--memoised]`.

Reads requests from stdin, one JSON object a line, and answers each with one line on stdout:
`{"reset": "<game file>"}` and `{"step": "<command>"}` are answered with an observation's fields, or with `{"error":
"<what went wrong>"}`. Whatever alfworld, textworld or the planner print goes to stderr. Ends when stdin does.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import textworld.gym
from alfworld.agents.environment.alfred_tw_env import TASK_TYPES, AlfredTWEnv

from agentprm_dagster.envs.alfworld.guarded import guard_textworld
from agentprm_dagster.envs.alfworld.memoised import memoise_textworld


def main() -> None:
    """Serves until stdin ends."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    guard_textworld()
    if "--memoised" in sys.argv:
        memoise_textworld()
    player = _Player()
    for line in sys.stdin:
        print(json.dumps(_answer(player, json.loads(line))), file=replies, flush=True)


def _answer(player: "_Player", request: dict[str, str]) -> dict[str, Any]:
    try:
        return player.reset(request["reset"]) if "reset" in request else player.step(request["step"])
    except Exception as error:  # the parent raises it again, with the game's name
        return {"error": f"{type(error).__name__}: {error}"}


class _Player:
    """Plays one game at a time through `AlfredTWEnv`, with a batch of one."""

    def __init__(self) -> None:
        self.game = ""
        self.env: Any = None

    def reset(self, game: str) -> dict[str, Any]:
        if game != self.game:
            self.env = _make_env(game)
            self.game = game
        (text,), infos = self.env.reset()
        return _observation(text, False, infos)

    def step(self, command: str) -> dict[str, Any]:
        (text,), _, (done,), infos = self.env.step([command])
        return _observation(text, done, infos)


def _observation(text: str, done: bool, infos: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        "text": text,
        "admissible_commands": infos["admissible_commands"][0],
        "reward": float(bool(infos["won"][0])),
        "done": bool(done),
    }


def _make_env(game: str) -> textworld.gym.envs.TextworldBatchGymEnv:
    """The environment of `AlfredTWEnv` for one game, without a step limit."""
    config = {
        "dataset": {"eval_ood_data_path": str(Path(game).parent), "num_eval_games": 0},
        "env": {"task_types": list(TASK_TYPES), "domain_randomization": False, "expert_type": "handcoded",
                "goal_desc_human_anns_prob": 0},
        "general": {"training_method": "dqn"},
        "rl": {"training": {"max_nb_steps_per_episode": None}},
    }  # fmt: skip
    stock = AlfredTWEnv(config, train_eval="eval_out_of_distribution")
    if stock.game_files != [game]:
        raise ValueError(
            f"AlfredTWEnv finds the games {stock.game_files} in the game's folder. It needs `traj_data.json` beside "
            'the game with one of the six task types, `"solvable": true` in the game, no other game below it, and '
            'neither "movable" nor "Sliced" in the path.'
        )
    return stock.init_env(batch_size=1)


if __name__ == "__main__":
    main()
