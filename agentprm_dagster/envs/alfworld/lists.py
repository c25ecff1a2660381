"""Reasons that list where one has looked, as a memory that is read from the last answer.

Who goes to the likeliest places first has to know where it was. A small policy that has only the replies for that goes
round and round; to a list in its last answer it has but to add one place.
"""

import re
from dataclasses import replace

from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Turn

_SEARCHES = re.compile(r"I look for a (?:second )?\w+\.")
_LIST = re.compile(r"Seen: ([^.]*)\.")
_PLACE = re.compile(r"\w+ \d+")
_SEEN = re.compile(r"(?:On the (\w+ \d+)|The (\w+ \d+) is open\. In it), you see")


def with_lists(episode: Episode) -> Episode:
    """The episode, its own reasons for a search followed by the places that were seen into, in their order.

    Reasons are those of `reasons`; as long as nothing was seen they stay as they are. Where another has begun the
    episode its last list is gone on with, right or wrong: that a list is the one before and what was seen since is
    all there is to learn.
    """
    seen: list[str] = []
    turns = []
    for t, turn in enumerate(episode.turns):
        own = t >= episode.start
        if not own and (told := _LIST.search(turn.reason)):
            seen = _PLACE.findall(told[1])
        turns.append(_with_list(turn, " ".join(seen)) if own and seen else turn)
        if (found := _SEEN.search(turn.observation)) and (place := found[1] or found[2]) not in seen:
            seen.append(place)
    return replace(episode, turns=tuple(turns))


def _with_list(turn: Turn, seen: str) -> Turn:
    reason = _SEARCHES.sub(lambda searches: f"{searches[0]} Seen: {seen}.", turn.reason, count=1)
    return turn if reason == turn.reason else replace(turn, reason=reason, response=write_answer(reason, turn.action))
