"""The advantages of a rollout set's answers, within groups of episodes and of answers in one state.

GiGPO (arXiv 2505.10978) in the words of this project: A = A^E + omega * A^S.

- A^S, of steps: all answers that were given in one state, each with the discounted return behind it. A state is that of
  Eq. 1: the game, the observations and the actions so far (GiGPO's is what the environment shows last). Branches are
  what makes such groups here: several actions were tried in a state.
- A^E, of episodes: whole episodes that begin in one state, each with its reward. All its turns have the same. Of a
  branch it is 0: it is no episode from the start.

Of a branch the first turn counts, as it does for a PRM: only there was its action drawn for the state that it is in.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agentprm_dagster.algorithm.advantages import Normalise, group_advantages
from agentprm_dagster.algorithm.targets import Decision, decisions
from agentprm_dagster.episodes.records import Episode

Key = tuple[str, int]
"""(episode_id, turn) of an answer."""


class GivenAnswer(NamedTuple):
    """An answer that an episode gave, and its advantage."""

    episode: Episode
    turn: int
    advantage: float


def answer_advantages(
    episodes: Sequence[Episode], *, gamma: float, omega: float, normalise: Normalise
) -> dict[Key, float]:
    """The advantage of every answer that counts, by episode and turn."""
    given = {episode.episode_id: _counted(episode, gamma) for episode in episodes}
    everything = [decision for counted in given.values() for decision in counted]
    of_steps = group_advantages(
        [decision.outcome for decision in everything], [decision.state for decision in everything], normalise
    )
    whole = [episode for episode in episodes if episode.parent is None and given[episode.episode_id]]
    begins = [given[episode.episode_id][0].state for episode in whole]
    of_episodes = dict(
        zip(
            (episode.episode_id for episode in whole),
            group_advantages([episode.reward for episode in whole], begins, normalise),
            strict=True,
        )
    )
    return {
        (decision.episode_id, decision.turn): of_episodes.get(decision.episode_id, 0.0) + omega * of_step
        for decision, of_step in zip(everything, of_steps, strict=True)
    }


def _counted(episode: Episode, gamma: float) -> list[Decision]:
    """The episode's own decisions, of a branch the first."""
    own = list(decisions(episode, gamma))
    return own if episode.parent is None else own[:1]


def answers_by_state(
    episodes: Sequence[Episode], advantages: Mapping[Key, float]
) -> dict[str, dict[int, list[GivenAnswer]]]:
    """What was answered along each whole episode, by its id and turn: its own answer and those of its branches.

    Only answers whose advantage is not 0.
    """
    along: dict[str, dict[int, list[GivenAnswer]]] = {}
    by_id = {episode.episode_id: episode for episode in episodes}
    for (name, turn), advantage in advantages.items():
        if advantage:
            episode = by_id[name]
            states = along.setdefault(episode.parent or name, {})
            states.setdefault(turn, []).append(GivenAnswer(episode, turn, advantage))
    return along
