"""Branches: returning to states along episodes and trying several different actions there.

Whole episodes rarely visit a state twice, so their targets tell states apart and hardly actions; those of branches tell
actions apart (beyond the paper, which could not return to a state).
"""

from collections.abc import Sequence

import numpy as np

from agentprm_dagster.envs.base import Task
from agentprm_dagster.episodes.parsing import may_be_chosen, parse_answer
from agentprm_dagster.episodes.records import Episode, Response, State
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.rollouts.placement import SCREENED, Placer, place
from agentprm_dagster.rollouts.replay import Replay
from agentprm_dagster.rollouts.rollout import Agent, Start

DRAWN = 16
"""Answers drawn in a state that is branched from, or as many as actions are to be tried there, if these are more."""


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
        tried += [different_actions(each, actions) for each in answers]
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


def different_actions(answers: Sequence[Response], count: int) -> list[Response]:
    """The first answers that give different commands, of those that may be chosen."""
    by_action: dict[str, Response] = {}
    for answer in filter(may_be_chosen, answers):
        by_action.setdefault(parse_answer(answer.text).action, answer)
    return list(by_action.values())[:count]
