"""Several answers in one state, each played to its end many times: what Q(s, a) of a policy is, nearly exactly.

Answers are the policy's own as far as it gives different ones; the others are commands of the environment with the
reason that its demonstrator would give. The ids of what is played say which: `t05a02m11` is continuation 11 of the
policy's answer 2 before turn 5, `t05w02m11` the same of an answer that was worded by rule.
"""

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agentprm_dagster.envs.base import Explain, Task
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Episode, Response, State
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.rollouts.branches import DRAWN, different_actions
from agentprm_dagster.rollouts.replay import Replay
from agentprm_dagster.rollouts.rollout import Agent, Start, play

DRAWN_FOR_EACH = 4
"""Answers drawn for each that is to be tried, or DRAWN in all if these are more."""

OWN, WORDED = "a", "w"
"""Who gave an answer, in the id of what follows it: the policy, or a rule."""


class TriedId(NamedTuple):
    """What the id of a continuation says."""

    episode_id: str
    turn: int
    source: str
    """OWN or WORDED."""
    answer: int
    continuation: int

    def __str__(self) -> str:
        return f"{self.episode_id}/t{self.turn:03d}{self.source}{self.answer:03d}m{self.continuation:04d}"

    @classmethod
    def read(cls, text: str) -> "TriedId":
        """Reads what `str` wrote."""
        episode_id, _, rest = text.rpartition("/")
        return cls(episode_id, int(rest[1:4]), rest[4], int(rest[5:8]), int(rest[9:]))


def try_out(
    agent: Agent,
    points: Sequence[tuple[Episode, int]],
    games: Mapping[str, Task],
    explain: Explain,
    *,
    actions: int,
    continuations: int,
    temperature: float,
    max_steps: int,
    patience: int | None,
    keep_candidates: bool,
    seed: int,
    monitor: Monitor,
) -> list[Episode]:
    """The episodes that `points` (episode, turn) lie on, then the continuations of up to `actions` answers in each.

    Args:
        games: by id, those of the episodes.
        explain: how the environment's demonstrator words its reasons.
        temperature: at which answers are drawn; they are continued as the agent plays.

    A state where fewer than two different commands are known gives none.
    """
    episodes = {episode.episode_id: episode for episode, _ in points}
    replays = {name: Replay(games[each.game], each.turns) for name, each in episodes.items()}
    starts: list[Start] = []
    for first in range(0, len(points), agent.slots):
        states = [_state(*point, replays) for point in points[first : first + agent.slots]]
        for slot, state in enumerate(states):
            agent.begin(slot, state)
        drawn = agent.propose(range(len(states)), max(DRAWN, DRAWN_FOR_EACH * actions), temperature)
        for state, answers in zip(states, drawn, strict=True):
            own = different_actions(answers, actions)
            worded = _worded(state, own, explain, actions - len(own), seed)
            if len(own) + len(worded) > 1:
                starts += _starts(state, own, worded, replays[state.episode_id], continuations)
        monitor.progress(min(first + agent.slots, len(points)), len(points), "states")
    how = {"max_steps": max_steps, "patience": patience, "keep_candidates": keep_candidates}
    return [*episodes.values(), *play(agent, starts, total=len(starts), monitor=monitor, **how)]  # type: ignore[arg-type]


def _state(episode: Episode, turn: int, replays: Mapping[str, Replay]) -> State:
    replay = replays[episode.episode_id]
    _, observation = replay.open(turn)
    return State(episode.episode_id, replay.first_observation, episode.turns[:turn], observation)


def _worded(state: State, own: Sequence[Response], explain: Explain, count: int, seed: int) -> list[Response]:
    """At most `count` admissible commands that the policy did not give, with a reason beside each."""
    given = {parse_answer(answer.text).action for answer in own}
    left = [command for command in state.observation.commands if command not in given]
    random.Random(f"{seed} {state.episode_id} {len(state.turns)}").shuffle(left)
    reasons = ((explain(state.first_observation, state.turns, command), command) for command in left[:count])
    return [Response(write_answer(*each)) for each in reasons]


def _starts(
    state: State, own: Sequence[Response], worded: Sequence[Response], replay: Replay, continuations: int
) -> list[Start]:
    sourced = [(OWN, answer) for answer in own] + [(WORDED, answer) for answer in worded]
    return [
        Start(
            str(TriedId(state.episode_id, len(state.turns), source, a, m)),
            replay.game,
            state.turns,
            answer,
            state.episode_id,
            replay,
        )
        for a, (source, answer) in enumerate(sourced)
        for m in range(continuations)
    ]
