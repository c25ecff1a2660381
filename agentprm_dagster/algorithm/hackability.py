"""Whether a reward model can be pleased by what an answer says: perturbed answers beside the real ones of a state.

A policy that is optimised against a reward model finds what it overrates. Here that is looked for before: in held-out
states, is an answer that does nothing more (`algorithm.perturbed`) valued above every real answer that was tried there?
Who scores is a function, so that a model, an exact Q and a rule are asked alike.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan
from typing import Literal, NamedTuple

import numpy as np

from agentprm_dagster.algorithm.perturbed import KINDS, Perturber
from agentprm_dagster.algorithm.targets import states_of
from agentprm_dagster.episodes.records import Episode, Response, Turn


class Question(NamedTuple):
    """Some answers to one state."""

    episode: Episode
    turn: int
    """Before which the state is."""
    answers: tuple[Response, ...]


Score = Callable[[Sequence[Question]], Sequence[Sequence[float]]]
"""What each answer of each question is worth: the higher, the better."""


class Decision(NamedTuple):
    """A state in which something was decided, with every answer that was tried there."""

    episode: Episode
    turn: int
    real: tuple[Turn, ...]
    """In the agreed form and admissible, each command once."""


@dataclass(frozen=True)
class Hacking:
    """How a reward model is asked, and what becomes of one that can be pleased."""

    margin: float
    """By how much a perturbed answer must be valued above the best real one."""
    most: float
    """Share of decisions in which it may be."""
    severity: Literal["warn", "block"]
    max_new_tokens: int
    """Of an answer."""
    relative: bool = False
    """Whether the margin is in standard deviations of the real answers' values: what the model says are no
    probabilities."""


@dataclass(frozen=True, slots=True)
class Weakness:
    """What perturbations of one kind do."""

    kind: str
    decisions: int
    """In which there was one."""
    share: float
    """Of them, those in which it is valued above every real answer, by more than the margin; nan without any."""
    rise: float
    """Mean of its value minus that of the best real answer; nan without any."""
    example: str
    """The answer that rises most, empty without any."""


@dataclass(frozen=True, slots=True)
class Hackability:
    """What was found."""

    decisions: int
    weaknesses: tuple[Weakness, ...]

    @property
    def worst(self) -> float:
        """The largest share of any kind; 0 where none could be made."""
        return max((each.share for each in self.weaknesses if each.decisions), default=0.0)

    def metrics(self) -> dict[str, float]:
        """By kind, share and rise of those that could be made."""
        made = [each for each in self.weaknesses if each.decisions]
        return {
            "hackable": self.worst,
            **{f"hackable_{each.kind}": each.share for each in made},
            **{f"hackable_{each.kind}_rise": each.rise for each in made},
        }


def decisions_of(episodes: Sequence[Episode], count: int, seed: int) -> list[Decision]:
    """At most `count` decisions of whole episodes, at random, with what branches have tried in the same states."""
    tried: dict[str, dict[str, Turn]] = {}
    places: dict[str, tuple[Episode, int]] = {}
    for episode in episodes:
        own = zip(list(states_of(episode))[episode.start :], episode.own_turns, strict=True)
        for t, (state, turn) in enumerate(own, episode.start):
            if episode.parent is None:
                places.setdefault(state, (episode, t))
            if turn.parsed and turn.admissible:
                tried.setdefault(state, {}).setdefault(turn.action, turn)
    found = [Decision(*places[state], tuple(real.values())) for state, real in tried.items() if state in places]
    return random.Random(f"{seed} hackable decisions").sample(found, min(count, len(found)))


def hackability(
    decisions: Sequence[Decision], perturber: Perturber, score: Score, *, margin: float, relative: bool = False
) -> Hackability:
    """Asks what perturbed answers are worth beside the best real one of each decision.

    Args:
        margin: by how much one must exceed it, in what `score` says; with `relative` in standard deviations of the real
            answers' values, for scores without a scale of their own.
    """
    perturbed = [perturber.answers(each.episode, each.turn, each.real[0]) for each in decisions]
    questions = [
        Question(
            each.episode,
            each.turn,
            (
                *(Response(turn.response, turn.tokens) for turn in each.real),
                *(Response(one.text) for one in made),
            ),
        )
        for each, made in zip(decisions, perturbed, strict=True)
    ]
    values = [np.asarray(each, dtype=float) for each in score(questions)]
    real = [each[: len(one.real)] for each, one in zip(values, decisions, strict=True)]
    if relative and real:
        margin *= float(np.concatenate(real).std())
    rises: dict[str, list[tuple[float, str]]] = {kind: [] for kind in KINDS}
    for said, best, made in zip(values, real, perturbed, strict=True):
        above = said[len(best) :] - best.max()
        for kind in KINDS:
            of_kind = [(float(rise), one.text) for rise, one in zip(above, made, strict=True) if one.kind == kind]
            if of_kind:
                rises[kind].append(max(of_kind))
    return Hackability(len(decisions), tuple(_weakness(kind, found, margin) for kind, found in rises.items()))


def _weakness(kind: str, found: Sequence[tuple[float, str]], margin: float) -> Weakness:
    """`found` are rise and text of the best perturbation of each decision."""
    if not found:
        return Weakness(kind, 0, nan, nan, "")
    rises = np.array([rise for rise, _ in found])
    return Weakness(kind, len(found), float((rises > margin).mean()), float(rises.mean()), max(found)[1])
