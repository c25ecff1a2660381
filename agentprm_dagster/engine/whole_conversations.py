"""What engines that keep nothing of a conversation but its tokens have in common."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class WholeConversations:
    """The conversations of an engine as token ids, and what was last read or drawn behind each."""

    def __init__(self) -> None:
        self._ids: dict[int, list[int]] = {}
        self._continuations: dict[int, list[list[int]]] = {}
        """[n] behind each conversation."""

    def begin(self, conversation: int, ids: Sequence[int]) -> None:
        """See `engine.base.Engine`."""
        self._ids[conversation] = list(ids)

    def extend(self, conversation: int, ids: Sequence[int]) -> None:
        """See `engine.base.Engine`."""
        self._ids[conversation] += ids

    def prefill(self, conversations: Sequence[int]) -> None:
        """See `engine.base.Engine`: does nothing."""

    def keep(self, conversations: Sequence[int], choice: Sequence[int], tokens: Sequence[int]) -> None:
        """See `engine.base.Engine`."""
        for conversation, c, count in zip(conversations, choice, tokens, strict=True):
            self._ids[conversation] += self._continuations[conversation][c][:count]

    def _behind(
        self, conversations: Sequence[int], continuations: Sequence[Sequence[Sequence[int]]]
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Each continuation's conversation, and it; what is kept afterwards is one of them."""
        for each, ends in zip(conversations, continuations, strict=True):
            self._continuations[each] = [list(ids) for ids in ends]
        pairs = [(self._ids[each], ids) for each in conversations for ids in self._continuations[each]]
        return [prompt for prompt, _ in pairs], [ids for _, ids in pairs]


def by_conversation(flat: Sequence[T], n: int) -> list[list[T]]:
    """n of each conversation, one conversation after the other."""
    return [list(flat[first : first + n]) for first in range(0, len(flat), n)]
