"""What an expert did in a game, done again by somebody who knows it."""

from collections.abc import Sequence

from agentprm_dagster.envs.base import OrdersSearch
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.rollouts.demonstrations import Demonstration


def plan_of(episode: Episode, kind: OrdersSearch) -> list[str]:
    """What a won episode did, without any search."""
    return kind.plan([turn.action for turn in episode.turns if turn.admissible])


def do_planned(play: Demonstration, actions: Sequence[str], kind: OrdersSearch) -> bool:
    """Does the actions, and says whether all were done.

    Ends where one cannot be done and nothing does as well: what comes after would be about something else.
    """
    for action in actions:
        instead = [action] if play.observation.admits(action) else kind.instead(action, play.observation)
        if instead is None:
            return False
        for i, each in enumerate(instead):
            if play.over or (i == 0 and each == play.refused):  # nobody tries that again
                continue
            if i == 0:
                play.do(each)
            elif not do_planned(play, [each], kind):
                return False
    return True
