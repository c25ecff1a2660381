"""Reasons that list where nobody has looked yet, as a memory that is read from the last answer.

Who goes to the likeliest places first has to know where it was. A small policy that has only the replies for that goes
round and round; of a list in its last answer it has but to leave out one place.
"""

import re
from dataclasses import replace

from agentprm_dagster.envs.alfworld.reasons import listed
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Turn

_SEARCHES = re.compile(r"I look for a (?:second )?\w+\.")
_SEEN = re.compile(r"(?:On the (\w+ \d+)|The (\w+ \d+) is open\. In it), you see")


def with_lists(episode: Episode) -> Episode:
    """The episode, its own reasons for a search followed by the room's places that were not seen into before.

    Reasons are those of `reasons`; where a game begins without a list of its places they stay as they are.
    """
    left = dict.fromkeys(listed(episode.first_observation))
    turns = []
    for t, turn in enumerate(episode.turns):
        turns.append(_with_list(turn, " ".join(left)) if left and t >= episode.start else turn)
        if seen := _SEEN.search(turn.observation):
            left.pop(seen[1] or seen[2], None)
    return replace(episode, turns=tuple(turns))


def _with_list(turn: Turn, left: str) -> Turn:
    reason = _SEARCHES.sub(lambda searches: f"{searches[0]} Left: {left}.", turn.reason, count=1)
    return turn if reason == turn.reason else replace(turn, reason=reason, response=write_answer(reason, turn.action))
