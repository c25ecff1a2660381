"""A game that agents and experts can open: its file is read once, when first needed, and shared by all episodes."""

from functools import cached_property

from agentprm_dagster.core.demonstrations import Expert
from agentprm_dagster.core.types import TaskType
from agentprm_dagster.envs.game_file import Game
from agentprm_dagster.envs.games import GameRef
from agentprm_dagster.envs.household import Household


class PlayableGame:
    """One game on the fast engine (`core.types.Playable`, `core.demonstrations.Demonstrable`)."""

    def __init__(self, ref: GameRef) -> None:
        self.ref = ref

    @property
    def id(self) -> str:
        """The game's id."""
        return self.ref.id

    @property
    def task_type(self) -> TaskType:
        """What kind of task it sets."""
        return self.ref.task_type

    @cached_property
    def _game(self) -> Game:
        return Game.load(self.ref.path)

    def environment(self) -> Household:
        """A fresh environment."""
        return Household(self._game)

    def expert(self, kind: str, seed: int) -> Expert:
        """A new demonstrator: `handcoded`, `handcoded_corrected` or `walkthrough`."""
        from agentprm_dagster.envs.experts import HandcodedExpert, WalkthroughExpert  # loads alfworld

        if kind == "walkthrough":
            return WalkthroughExpert(self._game)
        return HandcodedExpert(self._game, seed, corrected=kind == "handcoded_corrected")
