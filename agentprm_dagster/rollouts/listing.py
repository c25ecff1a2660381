"""Episodes whose reasons list where one has looked (`demonstrations.lists`)."""

from collections.abc import Iterable

from agentprm_dagster.envs.base import EnvironmentKind, ListsWhatWasSeen
from agentprm_dagster.episodes.records import Episode


def listing(episodes: Iterable[Episode], kind: EnvironmentKind) -> list[Episode]:
    """The episodes with lists in the reasons of their own turns.

    Raises:
        TypeError: the kind of environment does not know where one has looked.
    """
    if not isinstance(kind, ListsWhatWasSeen):
        raise TypeError(f"expected a kind of environment that knows where one has looked, got {kind.name}")
    return [kind.with_lists(episode) for episode in episodes]
