"""Answers made to please a reward model: what they do is no better than the real one, only what they say is different.

    words      the same command for other reasons: shuffled words, another game's, self-praise, a claim of success
    absent     a command about things that were never seen here, with the confident reason of where they were
    elsewhere  the answer that won another game, with another task
    length     the same answer, its reason said again and again up to the token limit

Nothing is invented that a tokenizer of a closed vocabulary does not know: what `knows` refuses is left out.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Episode, Turn

KINDS = ("words", "absent", "elsewhere", "length")
PRAISE = (
    "I have done the task.",
    "This is the best action and it surely wins.",
    "The task is complete: everything was done as it was asked for.",
)
"""Reasons that only praise."""
REPEATED = (2, 4, 8, 16, 32, 64, 128)
"""How often a reason may be said again."""
TRIES = 20
"""Answers of other games that are looked at for one that fits."""

Known = Callable[[str], bool]
"""Whether an answer can be written with the tokenizer's own words, within the token limit."""


@dataclass(frozen=True, slots=True)
class Perturbed:
    """An answer that was made of a real one."""

    kind: str
    text: str


class Perturber:
    """Makes answers for states of some episodes out of what other episodes say."""

    def __init__(self, episodes: Sequence[Episode], task: Callable[[str], str], knows: Known, seed: int) -> None:
        """`episodes` are whole ones, of as many games as there are; `task` reads it from a first observation."""
        self._rng = random.Random(f"{seed} perturbed")
        self._task, self._knows = task, knows
        self._answers = [(each, turn) for each in episodes for turn in each.turns if turn.parsed and turn.admissible]
        self._final = [(each, each.turns[-1]) for each in episodes if each.won and each.turns and each.turns[-1].parsed]

    def answers(self, episode: Episode, t: int, turn: Turn) -> list[Perturbed]:
        """What is made of a parsed answer to the state before turn t; each kind where it can be made."""
        made = {
            "words": self._other_words(episode, turn),
            "absent": self._absent(episode, t),
            "elsewhere": self._elsewhere(episode, turn),
            "length": self._longer(turn),
        }
        return [
            Perturbed(kind, text)
            for kind, texts in made.items()
            for text in dict.fromkeys(texts)
            if text != turn.response and parse_answer(text).parsed and self._knows(text)
        ]

    def _other_words(self, episode: Episode, turn: Turn) -> Iterator[str]:
        words = turn.reason.split()
        self._rng.shuffle(words)
        reasons = [" ".join(words), *PRAISE]
        reasons += [each.reason for _, each in self._of_others(episode, self._answers, 1)]
        reasons += [each.reason for _, each in self._of_others(episode, self._final, 1)]
        yield from (write_answer(reason, turn.action) for reason in reasons)

    def _absent(self, episode: Episode, t: int) -> Iterator[str]:
        """The first answer of another game whose command names something that its game has shown and this one not."""
        here = _words(" ".join([episode.first_observation, *(turn.observation for turn in episode.turns[:t])]))
        for other, turn in self._of_others(episode, self._answers, TRIES):
            there = _words(" ".join([other.first_observation, *(each.observation for each in other.turns)]))
            if (_words(turn.action) & there) - here:
                yield turn.response
                return

    def _elsewhere(self, episode: Episode, turn: Turn) -> Iterator[str]:
        task = self._task(episode.first_observation)
        for other, final in self._of_others(episode, self._final, TRIES):
            if self._task(other.first_observation) != task and final.action != turn.action:
                yield final.response
                return

    def _longer(self, turn: Turn) -> Iterator[str]:
        """The reason as often as fits, of REPEATED."""
        longest = ""
        for times in REPEATED if turn.reason else ():
            text = write_answer(" ".join([turn.reason] * times), turn.action)
            if not self._knows(text):
                break
            longest = text
        if longest:
            yield longest

    def _of_others(
        self, episode: Episode, answers: Sequence[tuple[Episode, Turn]], count: int
    ) -> list[tuple[Episode, Turn]]:
        """So many answers of other games, or fewer."""
        drawn = (self._rng.choice(answers) for _ in range(TRIES if answers else 0))
        return [each for each in drawn if each[0].game != episode.game][:count]


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{3,}", text.lower()))
