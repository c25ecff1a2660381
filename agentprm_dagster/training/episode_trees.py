"""Episodes and their branches as token trees, so that the common part of a family is read once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.token_tree import ROOT, TokenTree
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.tokens import EpisodeTokens


@dataclass(frozen=True, slots=True)
class ScoredTree:
    """A token tree and where its answers end."""

    tree: TokenTree
    decisions: list[tuple[str, int]]
    """(episode_id, turn) of every answer that an episode of the family gave itself."""
    ends: list[int]
    """Where in the tree each of these answers' end token stands."""
    replies: list[int]
    """Where the environment's reply to each of them ends; empty where every turn restates the history."""
    states: list[int]
    """Where the state that each of them was given in ends."""


def families(episodes: Sequence[Episode]) -> Iterator[list[Episode]]:
    """Every whole episode with its branches, parents before children; episodes without a turn hold nothing to read."""
    roots: dict[str, str] = {}
    members: dict[str, list[Episode]] = {}
    for episode in (each for each in episodes if each.turns):
        root = roots[episode.parent] if episode.parent else episode.episode_id
        roots[episode.episode_id] = root
        members.setdefault(root, []).append(episode)
    yield from members.values()


def by_game(episodes: Sequence[Episode]) -> Iterator[list[Episode]]:
    """All episodes of each game with their branches, parents before children."""
    games: dict[str, list[Episode]] = {}
    for episode in episodes:
        games.setdefault(episode.game, []).append(episode)
    yield from games.values()


def family_trees(chat: Chat, family: Sequence[Episode], dialogue: Format, *, branch_turns: int) -> list[ScoredTree]:
    """One tree for the family in the `append` format; one a decision where every turn restates the history.

    Of a branch only the first `branch_turns` own turns are read: what it was for is the value of its first action.
    Continuations that begin with the same answer differ in their returns, which the targets have averaged, and not in
    what is read when `branch_turns` is 1; they are read once.
    """
    family = list({_read_part(episode, branch_turns): episode for episode in reversed(family)}.values())[::-1]
    if dialogue == "restated":
        asked = [(episode, _read_turns(episode, branch_turns)) for episode in family]
        return [_tree_of_one(each) for episode, turns in asked for each in chat.conversations(episode, dialogue, turns)]
    tree = TokenTree()
    decisions: list[tuple[str, int]] = []
    ends: list[int] = []
    replies: list[int] = []
    states: list[int] = []
    segments: dict[str | None, int] = {None: ROOT}
    for episode in family:
        read = _read_turns(episode, branch_turns)
        (conversation,) = chat.conversations(episode, dialogue, range(read.stop))
        ids = conversation.ids + chat.follow_up(episode.turns[read.stop - 1].observation)
        lengths = [*conversation.states, len(ids)]
        length = lengths[episode.start] if episode.parent else 0
        segment = tree.add(ids[length:], parent=segments[episode.parent], length=length)
        segments[episode.episode_id] = segment
        for t in read:
            decisions.append((episode.episode_id, t))
            ends.append(tree.index(segment, conversation.answers[t][1] - 1 - length))
            replies.append(tree.index(segment, lengths[t + 1] - 1 - length))
            states.append(tree.place(segment, lengths[t] - 1))
    return [ScoredTree(tree, decisions, ends, replies, states)]


def _read_part(episode: Episode, branch_turns: int) -> object:
    """What tells two episodes of a family apart, as far as they are read."""
    if episode.parent is None:
        return episode.episode_id
    answers = tuple((turn.response, turn.tokens) for turn in episode.own_turns[:branch_turns])
    return episode.parent, episode.start, answers


def _read_turns(episode: Episode, branch_turns: int) -> range:
    """Which turns' answers are read: an episode's own, of a branch the first `branch_turns` of them."""
    last = len(episode.turns)
    return range(episode.start, last if episode.parent is None else min(last, episode.start + branch_turns))


def _tree_of_one(conversation: EpisodeTokens) -> ScoredTree:
    """The tree of a turn that restates the history."""
    tree = TokenTree()
    tree.add(conversation.ids)
    decision = conversation.episode.episode_id, conversation.turns[0]
    return ScoredTree(tree, [decision], [len(tree) - 1], [], [conversation.states[0] - 1])
