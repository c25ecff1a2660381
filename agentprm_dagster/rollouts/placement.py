"""Where branches are placed: rather where trying several actions tells much than anywhere along an episode.

More states are looked at than are branched from (screened), each is scored by what is known before anything is played,
and states are drawn with odds as their scores. Three scores, none of them above 0 where there is nothing to compare:

    spread         entropy of the commands that the policy draws there; needs no PRM
    disagreement   standard deviation of Q(s, a) over the actions to be tried: the PRM says that it matters
    uncertainty    mean of Q(s, a) (1 - Q(s, a)) over them: the variance of an outcome that is won with chance Q

As many states are asked for whatever their placement; of uniform ones some have nothing to compare and give no branch.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from agentprm_dagster.episodes.parsing import may_be_chosen, parse_answer
from agentprm_dagster.episodes.records import Response, State

SCREENED = 3
"""How many states are scored for each that is branched from."""


class Placer(Protocol):
    """Scores states to branch from, each held in a slot."""

    def begin(self, slot: int, state: State) -> None:
        """Puts a state into a slot."""

    def scores(self, answers: Sequence[Sequence[Response]], tried: Sequence[Sequence[Response]]) -> list[float]:
        """The scores of the first slots, from all answers drawn in each and those whose actions would be tried."""


class SpreadPlacer:
    """Scores states by how much the policy's own answers spread over different commands."""

    def begin(self, slot: int, state: State) -> None:
        """The answers say it all."""

    def scores(self, answers: Sequence[Sequence[Response]], tried: Sequence[Sequence[Response]]) -> list[float]:
        """`spread` of each state."""
        return [spread(drawn) for drawn in answers]


def spread(answers: Sequence[Response]) -> float:
    """Entropy of the commands in the answers, in nats; those that may not be chosen are left out."""
    commands = Counter(parse_answer(answer.text).action for answer in filter(may_be_chosen, answers))
    shares = np.array(list(commands.values())) / max(commands.total(), 1)
    return float(-(shares * np.log(shares)).sum()) + 0.0


def disagreement(values: Sequence[float]) -> float:
    """Standard deviation of the values of several actions."""
    return float(np.std(values)) if len(values) > 1 else 0.0


def uncertainty(values: Sequence[float]) -> float:
    """Mean variance of an outcome won with such a chance; 0 for a single action, which nothing is compared with."""
    q = np.asarray(values)
    return float((q * (1 - q)).mean()) if len(q) > 1 else 0.0


def place(scores: Sequence[float], count: int, rng: np.random.Generator) -> list[int]:
    """At most `count` places in order, drawn one after the other with odds as their scores; none of score 0."""
    odds = np.asarray(scores, dtype=float)
    possible = int(np.count_nonzero(odds))
    if not possible:
        return []
    return sorted(rng.choice(len(odds), size=min(count, possible), replace=False, p=odds / odds.sum()).tolist())
