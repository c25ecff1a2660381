"""Episodes whose outcome nobody can read: what InversePRM learns from."""

from collections.abc import Iterable
from dataclasses import fields

from agentprm_dagster.episodes.records import Episode


class OutcomeRead(RuntimeError):
    """Something asked for the outcome of an episode that must not know it."""


class UnrewardedEpisode(Episode):
    """An episode that raises OutcomeRead where its outcome is asked for; `truncated` may be read, see there."""

    __slots__ = ()

    @property
    def reward(self) -> float:
        """Nobody's business."""
        raise OutcomeRead(f"the outcome of {self.episode_id} was asked for; InversePRM learns from actions alone")

    @reward.setter
    def reward(self, outcome: float) -> None:
        """Forgets it."""


def without_outcomes(episodes: Iterable[Episode]) -> list[Episode]:
    """The same episodes as UnrewardedEpisode."""
    names = [field.name for field in fields(Episode) if field.name != "reward"]
    return [UnrewardedEpisode(reward=0.0, **{name: getattr(each, name) for name in names}) for each in episodes]
