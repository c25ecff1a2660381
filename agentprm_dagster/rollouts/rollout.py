"""Playing games with an agent, many at once: a slot takes the next episode the moment its own ends."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agentprm_dagster.envs.base import Environment, Task
from agentprm_dagster.episodes.parsing import Answer, parse_answer
from agentprm_dagster.episodes.records import Episode, Observation, Response, State, Turn
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.rollouts.replay import Replay

Parse = Callable[[str], Answer]
"""From an answer's text to its command."""


class Agent(Protocol):
    """Answers in several conversations at once, each held in a slot."""

    slots: int

    @property
    def usage(self) -> Usage:
        """What it has taken so far; whoever plays adds the environment's time."""

    def begin(self, slot: int, state: State) -> None:
        """Opens a conversation in a slot, at a state."""

    def act(self, slots: Sequence[int]) -> Sequence[Response | None]:
        """One answer for each slot, which becomes part of its conversation; None where it has none to give."""

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Tells a slot what its answer led to."""

    def propose(self, slots: Sequence[int], candidates: int, temperature: float) -> list[list[Response]]:
        """Several answers for each slot, none of which becomes part of its conversation."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where an episode begins: at a game's start, or after some turns of another episode."""

    episode_id: str
    game: Task
    turns: tuple[Turn, ...] = ()
    """Turns inherited from that episode."""
    response: Response | None = None
    """An answer that is given first, whatever the agent would say."""
    parent: str | None = None
    replay: Replay | None = field(default=None, compare=False)
    """An episode that begins with these turns, where it was played again already."""


@dataclass(slots=True)
class _Play:
    """An episode under way."""

    start: Start
    environment: Environment
    first_observation: str
    observation: Observation
    turns: list[Turn] = field(default_factory=list)
    keep_candidates: bool = False
    """Whether turns record what the agent could choose from."""
    parse: Parse = parse_answer

    def answer(self, answer: Response) -> Turn:
        """Sends an answer's command to the environment and records the turn."""
        parsed = self.parse(answer.text)
        before = self.observation
        self.observation = self.environment.step(parsed.action)
        turn = Turn(
            reason=parsed.reason,
            action=parsed.action,
            observation=self.observation.text,
            response=answer.text,
            parsed=parsed.parsed,
            admissible=before.admits(parsed.action),
            candidates=before.commands if self.keep_candidates else (),
            tokens=answer.tokens,
        )
        self.turns.append(turn)
        return turn

    def over(self, max_steps: int, patience: int | None) -> bool:
        return self.observation.done or len(self.turns) >= max_steps or self._stuck(patience)

    def _stuck(self, patience: int | None) -> bool:
        if patience is None or len(self.turns) < max(patience, len(self.start.turns) + 1):
            return False  # What an expert repeats on the way to where an episode begins does not end it.
        last = self.turns[-1]
        same = [turn for turn in self.turns if (turn.action, turn.observation) == (last.action, last.observation)]
        return len(same) >= patience

    def episode(self) -> Episode:
        return Episode(
            episode_id=self.start.episode_id,
            game=self.start.game.id,
            task_type=self.start.game.kind,
            first_observation=self.first_observation,
            turns=tuple(self.turns),
            reward=self.observation.reward,
            start=len(self.start.turns),
            parent=self.start.parent,
            truncated=not self.observation.done or self.observation.truncated,
        )


def _open(start: Start, *, keep_candidates: bool = False, parse: Parse = parse_answer) -> _Play:
    """Brings a fresh environment to the start's state."""
    replay = start.replay or Replay(start.game, start.turns)
    environment, observation = replay.open(len(start.turns))
    turns = list(start.turns)
    play = _Play(start, environment, replay.first_observation, observation, turns, keep_candidates, parse)
    if start.response is not None:
        play.answer(start.response)
    return play


def play(
    agent: Agent,
    starts: Iterable[Start],
    *,
    max_steps: int,
    total: int,
    monitor: Monitor,
    patience: int | None = None,
    keep_candidates: bool = False,
    parse: Parse = parse_answer,
) -> list[Episode]:
    """Plays every start to its end; a slot takes the next start the moment its episode ends.

    An episode that does the same thing with the same reply for the `patience`-th time is over, and lost. So is one
    whose agent has no answer to give.
    `keep_candidates` records the admissible commands of every state, for dialogues that list them; `parse` reads
    answers that have another form than the dialogue formats ask for.
    """
    waiting = _opened(starts, agent.usage, keep_candidates, parse)
    active: dict[int, _Play] = {}
    finished: list[Episode] = []
    limits = (max_steps, patience)
    for slot in range(agent.slots):
        _fill(agent, slot, active, waiting, finished, limits)
    while active:
        slots = sorted(active)
        for slot, answer in zip(slots, agent.act(slots), strict=True):
            game, turn = active[slot], None
            if answer is not None:
                with agent.usage.environment():
                    turn = game.answer(answer)
            if turn is None or game.over(*limits):
                finished.append(active.pop(slot).episode())
                _fill(agent, slot, active, waiting, finished, limits)
            else:
                agent.observe(slot, turn, game.observation)
        monitor.progress(len(finished), total, "episodes")
    return sorted(finished, key=lambda episode: episode.episode_id)


def _opened(starts: Iterable[Start], usage: Usage, keep_candidates: bool, parse: Parse) -> Iterator[_Play]:
    for start in starts:
        with usage.environment():
            opened = _open(start, keep_candidates=keep_candidates, parse=parse)
        yield opened


def _fill(
    agent: Agent,
    slot: int,
    active: dict[int, _Play],
    waiting: Iterator[_Play],
    finished: list[Episode],
    limits: tuple[int, int | None],
) -> None:
    """Puts the next game that is not over at once into a slot."""
    for game in waiting:
        if game.over(*limits):
            finished.append(game.episode())
            continue
        agent.begin(slot, State(game.start.episode_id, game.first_observation, tuple(game.turns), game.observation))
        active[slot] = game
        return
