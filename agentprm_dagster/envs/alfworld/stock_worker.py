"""The stock engine's side of the pipe, in a process of its own."""

from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import textworld.gym
from alfworld.agents.environment.alfred_tw_env import TASK_TYPES, AlfredTWEnv

from agentprm_dagster.envs.alfworld.guarded import guard_textworld
from agentprm_dagster.envs.alfworld.memoised import memoise_textworld
from agentprm_dagster.episodes.records import Observation


def serve(pipe: Connection) -> None:
    """Receives whether to be memoised, and then pairs of a `_Player`'s method and its argument.

    Each is answered with the observation, or with what went wrong as a string.
    """
    guard_textworld()
    if pipe.recv():
        memoise_textworld()
    player = _Player()
    while True:
        method, argument = pipe.recv()
        try:
            reply = getattr(player, method)(argument)
        except Exception as error:  # the starter raises it again, with the game's name
            reply = f"{type(error).__name__}: {error}"
        pipe.send(reply)


class _Player:
    """Plays one game at a time through `AlfredTWEnv`, with a batch of one."""

    def __init__(self) -> None:
        self.game = ""
        self.env: Any = None

    def reset(self, game: str) -> Observation:
        if game != self.game:
            self.env = _make_env(game)
            self.game = game
        (text,), infos = self.env.reset()
        return _observation(text, False, infos)

    def step(self, command: str) -> Observation:
        (text,), _, (done,), infos = self.env.step([command])
        return _observation(text, done, infos)


def _observation(text: str, done: bool, infos: dict[str, list[Any]]) -> Observation:
    return Observation(
        text, tuple(infos["admissible_commands"][0]), reward=float(bool(infos["won"][0])), done=bool(done)
    )


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
