"""A game that agents and experts can open: its file is read once, when first needed, and shared by all episodes."""

from functools import cached_property
from typing import TYPE_CHECKING

from agentprm_dagster.envs.base import Environment, Expert, TaskRef

if TYPE_CHECKING:
    from agentprm_dagster.envs.textworld.engine import Engine


class PlayableGame:
    """One game (`envs.base.Demonstrable`). Opening it takes a second for the first of its kind, then 50 ms."""

    def __init__(self, ref: TaskRef) -> None:
        self.ref, self.id, self.kind = ref, ref.id, ref.kind

    @cached_property
    def _engine(self) -> "Engine":
        from agentprm_dagster.envs.textworld.engine import Engine  # loads textworld, which takes a second

        return Engine(self.ref.path)

    def environment(self) -> Environment:
        """A fresh environment."""
        from agentprm_dagster.envs.textworld.environment import TextWorld

        return TextWorld(self.ref.id, self._engine)

    def expert(self, name: str, seed: int) -> Expert:
        """A new demonstrator: `search`, which knows the rooms it has been in, or `policy`, which knows all."""
        from agentprm_dagster.envs.textworld.experts import PolicyExpert

        return PolicyExpert(self._engine, seed, searches=name == "search")
