"""The won episodes of a rollout set that are imitated: few a game, the shortest first, no way twice."""

from collections import defaultdict
from collections.abc import Sequence

from agentprm_dagster.episodes.records import Episode


def won_episodes(episodes: Sequence[Episode], most: int) -> list[Episode]:
    """At most so many won episodes of each game, whole ones and branches alike.

    Fewer turns from the game's start come first, then whole ones, then ids. Of those that did the same from the start
    one is taken, so that what a game is won by easily is not learnt again and again.
    """
    games: dict[str, dict[tuple[str, ...], Episode]] = defaultdict(dict)
    won = [episode for episode in episodes if episode.won and episode.own_turns]
    for episode in sorted(won, key=lambda each: (len(each.turns), each.parent is not None, each.episode_id)):
        games[episode.game].setdefault(tuple(turn.action for turn in episode.turns), episode)
    return [episode for ways in games.values() for episode in list(ways.values())[:most]]
