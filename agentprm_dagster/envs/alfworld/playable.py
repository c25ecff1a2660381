"""A game that agents and experts can open: its file is read once, when first needed, and shared by all episodes."""

from functools import cache, cached_property
from pathlib import Path

from agentprm_dagster.envs.alfworld.game_file import Game
from agentprm_dagster.envs.alfworld.household import Household
from agentprm_dagster.envs.alfworld.stock import StockEngine
from agentprm_dagster.envs.base import Expert, TaskRef


class PlayableGame:
    """One game on the fast engine (`envs.base.Demonstrable`)."""

    def __init__(self, ref: TaskRef) -> None:
        self.ref, self.id, self.kind = ref, ref.id, ref.kind

    @cached_property
    def _game(self) -> Game:
        return Game.load(self.ref.path)

    def environment(self) -> Household:
        """A fresh environment."""
        return Household(self._game)

    def expert(self, name: str, seed: int) -> Expert:
        """A new demonstrator: `handcoded`, `handcoded_corrected` or `walkthrough`."""
        from agentprm_dagster.envs.alfworld.experts import HandcodedExpert, WalkthroughExpert  # loads alfworld

        if name == "walkthrough":
            return WalkthroughExpert(self._game)
        return HandcodedExpert(self._game, seed, corrected=name == "handcoded_corrected")


class StockGame(PlayableGame):
    """The same game on the stock engine; all of them share one worker process, and are played one at a time."""

    def environment(self) -> StockEngine:  # type: ignore[override]
        """The engine, which its next `reset` turns to this game."""
        engine = _stock_engine()
        engine.load(self.ref.path)
        return engine


@cache
def _stock_engine() -> StockEngine:
    """Its worker process ends with this one. Strings are parsed once, ten times faster (`memoised.py`)."""
    return StockEngine(Path(), memoised=True)
