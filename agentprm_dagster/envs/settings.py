"""What the settings of every kind of environment say."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from agentprm_dagster.section import MOST_GAMES, Section

TaskCount = Annotated[int, Field(gt=0, le=MOST_GAMES)]


class EnvironmentSettings(Section, ABC):
    """Which tasks are played; each kind adds its own, among them `kind: Literal[...]`."""

    kind: str
    train: TaskCount | None = 1000
    """Tasks to train on; null takes all there are, where they are not made here."""
    demonstrated: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training tasks for demonstrations and random play; rollouts play the others, or all where it is 1.
    A small policy wins tasks that it was shown more often than others: their returns flatter it."""

    @property
    @abstractmethod
    def counts(self) -> Mapping[str, int | None]:
        """How many tasks there are of every split, `train` included: 0 of one that these settings do not make, None
        where only the files on the disk tell.
        """
