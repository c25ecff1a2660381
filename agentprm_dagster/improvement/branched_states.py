"""The states that policy improvement draws answers in: those that rollouts branched from.

Of the states that were tried these are the ones where the policy gave different answers.
"""

import random
from collections import defaultdict
from collections.abc import Sequence

from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.tokens import EpisodeTokens


def policy_prefixes(chat: Chat, episodes: Sequence[Episode], dialogue: Format) -> list[EpisodeTokens]:
    """The states of some episodes that were branched from, as dialogues of this format have them."""
    branched = branched_states(episodes)
    return [t for episode, turns in branched for t in chat.conversations(episode, dialogue, turns)]


def branched_states(episodes: Sequence[Episode]) -> list[tuple[Episode, list[int]]]:
    """Whole episodes with the turns that branches start at; with all their own turns where nothing was branched."""
    starts: dict[str, set[int]] = defaultdict(set)
    for episode in episodes:
        if episode.parent:
            starts[episode.parent].add(episode.start)
    whole = [episode for episode in episodes if episode.parent is None and episode.own_turns]
    if not starts:
        return [(episode, list(range(episode.start, len(episode.turns)))) for episode in whole]
    return [(episode, sorted(starts[episode.episode_id])) for episode in whole if starts[episode.episode_id]]


def some_states(prefixes: Sequence[EpisodeTokens], count: int, rng: random.Random) -> list[EpisodeTokens]:
    """Prefixes drawn at random, until they have so many states or there are no more."""
    some, states = [], 0
    for prefix in rng.sample(prefixes, len(prefixes)):
        if states < count:
            some.append(prefix)
            states += len(prefix.states)
    return some
