"""What the settings of every kind of target say."""

from typing import Annotated, Any

from pydantic import Field

from agentprm_dagster.section import Section


class TargetSettings(Section):
    """What the process reward model learns; each kind adds its own, among them `kind: Literal[...]`."""

    kind: str
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Discount of Eq. 1."""
    held_out_games: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the games whose targets only measure what is learnt from the others: PRM, world model."""

    @property
    def of_returns(self) -> bool:
        """Whether the targets are expected returns, so that what a PRM says can be compared with what was returned."""
        return True

    @property
    def reads_last(self) -> tuple[str, ...]:
        """The assets of the iteration before that are read, as `last_` and their name; of the first there are none."""
        return ()

    def check(self, experiment: Any) -> None:
        """ValueError where they do not go together with an experiment's other settings."""
