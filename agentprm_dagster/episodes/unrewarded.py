"""Episodes whose outcome nobody can read: what InversePRM learns from."""

from collections.abc import Iterable
from dataclasses import fields

from agentprm_dagster.episodes.records import Episode


class OutcomeRead(RuntimeError):
    """Something asked whether an episode was won that must not know."""


class UnrewardedEpisode(Episode):
    """An episode that raises OutcomeRead where its outcome is asked for; `truncated` may be read, see there."""

    __slots__ = ()

    @property
    def won(self) -> bool:
        """Nobody's business."""
        raise OutcomeRead(f"the outcome of {self.episode_id} was asked for; InversePRM learns from actions alone")

    @won.setter
    def won(self, outcome: bool) -> None:
        """Forgets it."""


def without_outcomes(episodes: Iterable[Episode]) -> list[Episode]:
    """The same episodes as UnrewardedEpisode."""
    names = [field.name for field in fields(Episode) if field.name != "won"]
    return [UnrewardedEpisode(won=False, **{name: getattr(each, name) for name in names}) for each in episodes]
