"""Playing games with an agent, many at once: whole episodes, and branches from states along them.

Stage 1 of the paper's Algorithm 1 rolls out the policy several times on each task. Whole episodes rarely visit a state
twice, so their targets tell states apart and hardly actions. A branch goes back to a state of an episode, tries
several different actions there and plays each to the end: those targets tell actions apart (beyond the paper, which
could not return to a state).

A policy seldom gets to where an expert goes. Part of the whole episodes may therefore begin at states along an expert's
(the paper's Reset-50-50, section 4); the turns on the way there are the expert's and are not the episode's own.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Protocol

import numpy as np

from agentprm_dagster.envs.base import Environment, Task
from agentprm_dagster.episodes.parsing import may_be_chosen, parse_answer
from agentprm_dagster.episodes.records import Episode, Observation, Response, State, Turn
from agentprm_dagster.episodes.stage import Monitor, PartMonitor
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.rollouts.placement import SCREENED, Placer, place
from agentprm_dagster.rollouts.replay import Replay

DRAWN = 16
"""Answers drawn in a state that is branched from, or as many as actions are to be tried there, if these are more."""


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

    def answer(self, answer: Response) -> Turn:
        """Sends an answer's command to the environment and records the turn."""
        parsed = parse_answer(answer.text)
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


def _open(start: Start, *, keep_candidates: bool = False) -> _Play:
    """Brings a fresh environment to the start's state."""
    replay = start.replay or Replay(start.game, start.turns)
    environment, observation = replay.open(len(start.turns))
    play = _Play(start, environment, replay.first_observation, observation, list(start.turns), keep_candidates)
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
) -> list[Episode]:
    """Plays every start to its end; a slot takes the next start the moment its episode ends.

    An episode that does the same thing with the same reply for the `patience`-th time is over, and lost. So is one
    whose agent has no answer to give.
    `keep_candidates` records the admissible commands of every state, for dialogues that list them.
    """
    waiting = _opened(starts, agent.usage, keep_candidates)
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


def _opened(starts: Iterable[Start], usage: Usage, keep_candidates: bool) -> Iterator[_Play]:
    for start in starts:
        with usage.environment():
            opened = _open(start, keep_candidates=keep_candidates)
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
        agent.begin(slot, State(game.start.episode_id, game.first_observation, game.turns, game.observation))
        active[slot] = game
        return


def whole_episodes(games: Sequence[Task], per_game: int) -> list[Start]:
    """Every game from its start, several times."""
    return [Start(f"{game.id}#{k}", game) for game in games for k in range(per_game)]


def from_expert_states(
    starts: Sequence[Start], demonstrations: Mapping[str, Sequence[Episode]], *, share: float, max_steps: int, seed: int
) -> list[Start]:
    """The same starts, a share of them moved to a state along an expert's episode of their game: any of it, any turn.

    `shown` are the expert's episodes by game. A start stays where it is if its game was not shown. No episode is moved
    to its game's start, nor to where `max_steps`, counted from there, are over.
    """
    rng = random.Random(f"{seed} expert starts")
    long_enough = {
        game: [each for each in them if min(len(each.turns), max_steps) > 1] for game, them in demonstrations.items()
    }
    replays: dict[str, Replay] = {}
    moved = list(starts)
    for i in sorted(rng.sample(range(len(starts)), round(share * len(starts)))):
        start = starts[i]
        if not (experts := long_enough.get(start.game.id)):
            continue
        expert = rng.choice(experts)
        turn = rng.randrange(1, min(len(expert.turns), max_steps))
        if expert.episode_id not in replays:
            replays[expert.episode_id] = Replay(start.game, expert.turns)
        moved[i] = replace(start, turns=expert.turns[:turn], replay=replays[expert.episode_id])
    return moved


def branches(
    agent: Agent,
    episodes: Sequence[Episode],
    games: Sequence[Task],
    *,
    states: int,
    actions: int,
    continuations: int,
    temperature: float,
    seed: int,
    monitor: Monitor,
    placer: Placer | None = None,
) -> list[Start]:
    """From `states` own states of each episode, up to `actions` different sampled actions, each `continuations` times.

    Of the answers that the agent draws there the first different ones that may be chosen are tried. A state where they
    all agree gives no branch: there is nothing to compare. States are drawn uniformly along each episode, or by a
    `placer` among several times as many of all episodes.
    """
    rng = np.random.default_rng(seed)
    by_id = {game.id: game for game in games}
    looked_at = states * (SCREENED if placer else 1)
    points = [(episode, turn) for episode in episodes for turn in _states(episode, looked_at, rng)]
    replays = {episode.episode_id: Replay(by_id[episode.game], episode.turns) for episode in episodes}
    tried: list[list[Response]] = []
    scores: list[float] = []
    for first in range(0, len(points), agent.slots):
        group = points[first : first + agent.slots]
        for slot, (episode, turn) in enumerate(group):
            replay = replays[episode.episode_id]
            _, observation = replay.open(turn)
            state = State(episode.episode_id, replay.first_observation, episode.turns[:turn], observation)
            for reader in (agent, placer) if placer else (agent,):
                reader.begin(slot, state)
        answers = agent.propose(range(len(group)), max(DRAWN, actions), temperature)
        tried += [_different_actions(each, actions) for each in answers]
        if placer:
            scores += placer.scores(answers, tried[first:])
        monitor.progress(len(tried), len(points), "branch states")
    chosen = place(scores, states * len(episodes), rng) if placer else range(len(points))
    return [
        Start(
            f"{episode.episode_id}/t{turn:02d}a{a}m{m}",
            by_id[episode.game],
            episode.turns[:turn],
            answer,
            episode.episode_id,
            replays[episode.episode_id],
        )
        for i in chosen
        for episode, turn in points[i : i + 1]
        for a, answer in enumerate(tried[i])
        for m in range(continuations)
        if len(tried[i]) > 1
    ]


def _states(episode: Episode, count: int, rng: np.random.Generator) -> list[int]:
    own = len(episode.own_turns)
    return sorted(episode.start + turn for turn in rng.choice(own, size=min(count, own), replace=False).tolist())


def _different_actions(answers: Sequence[Response], count: int) -> list[Response]:
    """The first answers that give different commands, of those that may be chosen."""
    by_action: dict[str, Response] = {}
    for answer in filter(may_be_chosen, answers):
        by_action.setdefault(parse_answer(answer.text).action, answer)
    return list(by_action.values())[:count]


def collect_rollouts(
    agent: Agent,
    games: Sequence[Task],
    *,
    per_game: int,
    max_steps: int,
    branch_states: int,
    branch_actions: int,
    branch_continuations: int,
    branch_temperature: float,
    seed: int,
    monitor: Monitor,
    patience: int | None = None,
    keep_candidates: bool = False,
    expert_starts: float = 0.0,
    demonstrations: Mapping[str, Sequence[Episode]] = MappingProxyType({}),
    placer: Placer | None = None,
) -> list[Episode]:
    """Whole episodes of every game, then branches from states along them (`branch_actions` 0: the paper's way).

    A share `expert_starts` of the whole episodes begins at states along an expert's, `shown` by game; a `placer` says
    where it is worth while to branch.
    """
    starts = whole_episodes(games, per_game)
    if expert_starts:
        starts = from_expert_states(starts, demonstrations, share=expert_starts, max_steps=max_steps, seed=seed)
    go = partial(play, agent, max_steps=max_steps, patience=patience, keep_candidates=keep_candidates)
    episodes = go(starts, total=len(starts), monitor=monitor)
    if not (branch_states and branch_actions):
        return episodes
    more = branches(
        agent,
        episodes,
        games,
        states=branch_states,
        actions=branch_actions,
        continuations=branch_continuations,
        temperature=branch_temperature,
        seed=seed,
        monitor=monitor,
        placer=placer,
    )
    return episodes + go(more, total=len(more), monitor=PartMonitor("branch", monitor))
