"""Which kinds of target there are. A kind is a file here, and a line in KINDS."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.episodes.dialogue import Wording

if TYPE_CHECKING:
    import pandas as pd

KINDS = {
    "mc": "agentprm_dagster.targets.mc",
    "shaped": "agentprm_dagster.targets.shaped",
    "td_lambda": "agentprm_dagster.targets.td_lambda",
    "milestones": "agentprm_dagster.targets.milestones",
}
"""The module of each kind."""


class TargetKind(Protocol):
    """What such a module holds."""

    READS: tuple[str, ...]
    """The assets that it reads besides the rollouts; they are made once, for all iterations."""
    REPLAYS: bool
    """Whether it plays the rollouts again, to read what the games' states tell."""
    Settings: Any
    """The class of its settings (`targets.settings.TargetSettings`), with `kind: Literal[name]` as tag."""

    def compute(
        self,
        rollouts: Path,
        settings: Any,
        read: Mapping[str, Path],
        wording: Wording,
        seed: int,
        games: Sequence[TaskRef] = (),
    ) -> "pd.DataFrame":
        """One row for every decision, with the columns of `algorithm.targets.mc_value_targets`.

        What a PRM is to learn stands in the column `target`, in [0, 1], or else in `q`.

        Args:
            rollouts: tables of episodes.
            read: where the assets lie that it READS, and those of the iteration before (`Settings.reads_last`).
            wording: how the environment is told to a language model.
            seed: decides which games are held out.
            games: all that the rollouts were played in, where it REPLAYS.
        """


def target_kind(name: str) -> TargetKind:
    """The kind of this name; KeyError where there is none."""
    kind: TargetKind = import_module(KINDS[name])
    return kind
