"""Post-hoc rationalisation (section 4 of the paper): answers that worked, with a reason found after the fact.

Exploration may find a better action than the policy has a reason for. What it wrote beside the action was drawn before
it was known to work; the reason here is what a demonstrator would have said, by rule, from what the episode had shown
up to that state.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from agentprm_dagster.envs.base import Explain
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode

if TYPE_CHECKING:
    import pandas as pd

MARGIN = 0.2
"""How much more than another action tried in its state an action's return must be."""

Rationalised = Mapping[tuple[str, int], str]
"""Answers by the state that they are given in: (a whole episode's id, turn)."""


def rationalise(episodes: Sequence[Episode], targets: "pd.DataFrame", explain: Explain) -> Rationalised:
    """The best action tried in each state of a whole episode, where another is worth at least MARGIN less.

    `targets` are those of the episodes, `explain` words the reasons. States whose best action the environment did not
    accept give nothing: that the episode was won all the same was not its doing.
    """
    by_id = {episode.episode_id: episode for episode in episodes}
    tried = targets.drop_duplicates(["state", "action"]).sort_values("q", ascending=False, kind="stable")
    best = tried.groupby("state", sort=False).agg(
        episode_id=("episode_id", "first"), turn=("turn", "first"), gap=("q", lambda q: q.iloc[0] - q.iloc[-1])
    )
    best = best[best["gap"] >= MARGIN]
    worked = {
        state: turn.action
        for state, episode_id, t in best[["episode_id", "turn"]].itertuples()
        if (turn := by_id[episode_id].turns[t]).admissible
    }
    learnt = {}
    for episode_id, t, state in zip(targets["episode_id"], targets["turn"], targets["state"], strict=True):
        episode, action = by_id[episode_id], worked.get(state)
        if episode.parent is None and action is not None:
            learnt[episode_id, t] = write_answer(explain(episode.first_observation, episode.turns[:t], action), action)
    return learnt
