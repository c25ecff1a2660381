"""What a PRM says of episodes that were played, turn by turn.

It reads the conversations that agents fed it in play, at the same places: Q(s, a) at the end of an answer, as Best-of-N
does, and V(s') at the end of the observation that followed, as lookahead does.
"""

from collections.abc import Sequence

from agentprm_dagster.engine.base import ContextOverflow, Engine
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.values import TurnValue


def turn_values(
    engine: Engine, chat: Chat, episodes: Sequence[Episode], *, dialogue: Format, slots: int, observations: bool
) -> dict[str, list[TurnValue]]:
    """The values of all turns of every episode, inherited ones included, by the episode's id.

    Args:
        engine: holds the PRM, for at least `slots` conversations; so many episodes are read side by side.
        observations: whether V(s') is read too: only of `append` dialogues, and of a PRM that has learnt it.

    Raises:
        ContextOverflow: an episode outgrows the model's context before its last observation.
    """
    reader = _Reader(engine, chat, dialogue, observations and dialogue == "append")
    values: dict[str, list[TurnValue]] = {episode.episode_id: [] for episode in episodes}
    # Those of about one length end together, and leave no slot empty for long.
    waiting = sorted(episodes, key=lambda episode: len(episode.turns))
    for first in range(0, len(waiting), slots):
        part = waiting[first : first + slots]
        for t in range(len(part[-1].turns)):
            played = {slot: episode for slot, episode in enumerate(part) if t < len(episode.turns)}
            for episode, value in zip(played.values(), reader.read(played, t), strict=True):
                values[episode.episode_id].append(value)
    return values


class _Reader:
    """Reads one turn of several episodes after the other."""

    def __init__(self, engine: Engine, chat: Chat, dialogue: Format, observations: bool) -> None:
        self._engine, self._chat = engine, chat
        self._dialogue, self._observations = dialogue, observations

    def read(self, played: dict[int, Episode], t: int) -> list[TurnValue]:
        """The values of turn t of the episodes in some slots, whose turns before have been read."""
        slots, turns = [*played], [episode.turns[t] for episode in played.values()]
        if self._dialogue == "restated" or t == 0:
            for slot, episode in played.items():
                before, commands = episode.turns[:t], episode.turns[t].candidates
                self._engine.begin(slot, self._chat.state(episode.first_observation, before, self._dialogue, commands))
        q = self._scores(slots, [self._chat.answer(turn.response, turn.tokens) for turn in turns])
        after = self._after(slots, [self._chat.follow_up(turn.observation) for turn in turns])
        return [TurnValue(*each) for each in zip(q, after, strict=True)]

    def _scores(self, slots: Sequence[int], ids: Sequence[list[int]]) -> list[float]:
        """The values at the ends of these ids, which become part of the conversations."""
        logits = self._engine.score(slots, [[each] for each in ids])
        self._engine.keep(slots, [0] * len(slots), list(map(len, ids)))
        values: list[float] = logits[:, 0].sigmoid().tolist()
        return values

    def _after(self, slots: Sequence[int], observed: Sequence[list[int]]) -> list[float | None]:
        """V(s') where it is read; not of an episode's last observation, which no agent was fed, if it has no room."""
        if self._observations:
            try:
                return [*self._scores(slots, observed)]
            except ContextOverflow:
                if len(slots) > 1:
                    return [self._after([slot], [ids])[0] for slot, ids in zip(slots, observed, strict=True)]
        for slot, ids in zip(slots, observed, strict=True):
            self._engine.extend(slot, ids)
        return [None] * len(slots)
