"""Which of many episodes are worth looking at: the best, the worst, and those that ended otherwise than a PRM expected.

What a PRM expected of an episode is the mean of Q(s, a) over its own turns: one number that neither a good start nor a
single blunder decides alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import fmean
from typing import Any

from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.values import TurnValue

OF_EACH = 6
"""Most episodes of a group."""


@dataclass(frozen=True, slots=True)
class Watched:
    """An episode and what a PRM says of it."""

    episode: Episode
    values: Sequence[TurnValue] = ()
    """One a turn; none where no PRM has read it."""
    played: str = ""
    """By whom and where, for a reader: `pi_1, valid_seen`."""

    @property
    def expected(self) -> float:
        """Mean of Q(s, a) over the turns that the episode took itself; 0 where none was read."""
        own = self.values[self.episode.start :]
        return fmean(value.q for value in own) if own else 0.0

    @property
    def surprise(self) -> float:
        """How far the outcome is from what was expected, in [0, 1]."""
        return abs(self.episode.won - self.expected)


@dataclass(frozen=True, slots=True)
class Group:
    """Episodes that are shown together."""

    title: str
    about: str
    """A sentence on what they have in common."""
    episodes: Sequence[Watched]


def groups(watched: Sequence[Watched], before: Sequence[Watched] = (), then: str = "") -> list[Group]:
    """The groups of episodes that were all read by a PRM, or none of them; no episode stands in two of them.

    `before` are episodes of the same games by the policy called `then`: what it lost and is won now is a group too.
    """
    won = [each for each in watched if each.episode.won]
    lost = [each for each in watched if not each.episode.won]
    if any(each.values for each in watched):
        found = [
            Group("Lost, though expected to win", "Lost, with the highest mean Q.", _most(_expected, lost)),
            Group("Won, though expected to lose", "Won, with the lowest mean Q.", _least(_expected, won)),
            _gained(won, before, then),
            Group("Best", "Won, with the highest mean Q.", _most(_expected, won)),
            Group("Worst", "Lost, with the lowest mean Q.", _least(_expected, lost)),
        ]
    else:
        whole = [each for each in won if not each.episode.start]
        found = [
            Group("One action apart", "From the same state on, one action won and another lost.", _parted(watched)),
            Group("Best", "Won in the fewest actions.", _least(_actions, whole)),
            Group("Won late", "Won in the most actions.", _most(_actions, whole)),
            Group("Worst", "Lost with the least reward, most actions refused.", _most(_bad, lost)),
        ]
    return list(_each_once(found))


_expected = attrgetter("expected")


def _actions(watched: Watched) -> int:
    return len(watched.episode.turns)


def _bad(watched: Watched) -> tuple[float, int]:
    return -watched.episode.reward, sum(not turn.admissible for turn in watched.episode.own_turns)


def _least(key: Callable[[Watched], Any], some: Sequence[Watched]) -> list[Watched]:
    return sorted(some, key=key)


def _most(key: Callable[[Watched], Any], some: Sequence[Watched]) -> list[Watched]:
    return sorted(some, key=key, reverse=True)


def _parted(watched: Sequence[Watched]) -> list[Watched]:
    """A won and a lost branch of each state that has both, by different first actions."""
    branches: dict[object, dict[bool, Watched]] = {}
    for each in watched:
        episode = each.episode
        if episode.parent and episode.own_turns:
            tried = branches.setdefault((episode.parent, episode.start), {})
            if all(episode.own_turns[0].action != other.episode.own_turns[0].action for other in tried.values()):
                tried.setdefault(episode.won, each)
    return [tried[won] for tried in branches.values() if len(tried) == 2 for won in (True, False)]


def _gained(won: Sequence[Watched], before: Sequence[Watched], then: str) -> Group:
    """Both episodes of each game that was lost before; first the games that the PRM gave least."""
    lost = {each.episode.game: each for each in before if not each.episode.won}
    pairs = [(lost[each.episode.game], each) for each in won if each.episode.game in lost]
    pairs.sort(key=lambda pair: pair[0].expected)
    about = "Both episodes of a game, one below the other."
    return Group(f"Lost by {then}, won now", about, [each for pair in pairs for each in pair])


def _each_once(found: Iterable[Group]) -> Iterator[Group]:
    """Each group with the first episodes that no group before it has; none of them empty."""
    seen: set[int] = set()
    for group in found:
        new = [each for each in group.episodes if id(each) not in seen][:OF_EACH]
        seen |= set(map(id, new))
        if new:
            yield Group(group.title, group.about, new)
