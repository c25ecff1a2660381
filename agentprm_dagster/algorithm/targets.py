"""Monte-Carlo targets of the process reward model: the paper's Eq. 1.

    Q(s, a) = mean over the rollouts through (s, a) of gamma^(T-1-t) * outcome

t is the turn of (s, a), T the number of turns, so a win counts for less the more turns it still took. A state is what
the paper says: the game, the observations and the actions so far, no reasons. Pairs are grouped over the whole rollout
set; a branch counts from its first own turn on, because only there was its action drawn for the state it is in.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from agentprm_dagster.algorithm.held_out import hold_out
from agentprm_dagster.episodes.records import Episode

if TYPE_CHECKING:
    import pandas as pd


class Decision(NamedTuple):
    """A turn that an episode took itself."""

    episode_id: str
    turn: int
    game: str
    state: str
    """The game, the observations and the actions so far, as 16 hex digits."""
    action: str
    outcome: float
    """This rollout's own return, in [0, 1]."""


def mc_value_targets(episodes: Iterable[Episode], *, gamma: float, held_out_games: float, seed: int) -> "pd.DataFrame":
    """One row for every decision: what its (state, action) is worth on average over the rollout set.

    Columns: episode_id, turn, game, state (16 hex digits), action, outcome (this rollout's own return), q in [0, 1]
    (the target), visits (rollouts through the pair), held_out (the game only measures the PRM).
    """
    import pandas as pd  # not where a model is trained on targets that are there

    columns = Decision._fields
    cells: tuple[list[Any], ...] = tuple([] for _ in columns)
    for episode in episodes:  # read once and let go: only what the table needs is kept
        for decision in decisions(episode, gamma):
            for column, value in zip(cells, decision, strict=True):
                column.append(value)
    rows = pd.DataFrame(dict(zip(columns, cells, strict=True)))
    groups = rows.groupby(["state", "action"], sort=False)["outcome"]
    rows["q"] = groups.transform("mean")
    rows["visits"] = groups.transform("size")
    rows["held_out"] = rows["game"].isin(hold_out(rows["game"].unique(), held_out_games, seed))
    return rows


def decisions(episode: Episode, gamma: float) -> Iterator[Decision]:
    """The episode's own decisions, in their order."""
    last = len(episode.turns) - 1
    for t, (state, turn) in enumerate(zip(states_of(episode), episode.turns, strict=True)):
        if t >= episode.start:
            outcome = discounted_outcome(episode.reward, t, last, gamma)
            yield Decision(episode.episode_id, t, episode.game, state, turn.action, outcome)


def states_of(episode: Episode) -> Iterator[str]:
    """The state before every turn of an episode, inherited ones included: 16 hex digits."""
    state = hashlib.blake2b(f"{episode.game}\0{episode.first_observation}".encode(), digest_size=8)
    for turn in episode.turns:
        yield state.hexdigest()
        state.update(f"\0{turn.action}\0{turn.observation}".encode())


def discounted_outcome(reward: float, turn: int, last: int, gamma: float) -> float:
    """The return of one rollout at a turn, gamma^(T-1-t) * outcome, in [0, 1]."""
    return float(gamma ** (last - turn) * reward)


def learnt_targets(targets: "pd.DataFrame") -> "pd.Series":
    """What a PRM learns: the column `target` where a kind of target makes one, else Eq. 1's."""
    return targets["target"] if "target" in targets else targets["q"]
