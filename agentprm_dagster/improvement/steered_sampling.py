"""Steered exploration (section 4 of the paper): in some states answers are drawn under a second prompt.

The second prompt holds a hypothesis (`envs.base.DrawsHypotheses`) that the policy may act on. It is for drawing alone:
log-probabilities and the PRM's values are those of the answers behind the nominal prompt, so that what a hypothesis
led to is learnt without it.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.training.candidates import Candidate, CandidateSampler

WithHypothesis = Callable[[str, random.Random], str]
"""`envs.base.DrawsHypotheses.with_hypothesis`."""

HYPOTHESIS_ROOM = 32
"""Tokens, more than any hypothesis has."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Some states of a prefix under one prompt."""

    prefix: EpisodeTokens
    owners: list[tuple[int, int]]
    """(prefix, turn) of the batch that each of its states is."""


class SteeredSampler:
    """Draws as a `CandidateSampler` does, with room for twice the prefixes; each state is steered with some chance."""

    def __init__(
        self, sampler: CandidateSampler, with_hypothesis: WithHypothesis, *, share: float, dialogue: Format
    ) -> None:
        self.sampler, self.with_hypothesis = sampler, with_hypothesis
        self.share, self.dialogue = share, dialogue

    def draw(
        self,
        prefixes: Sequence[EpisodeTokens],
        *,
        temperature: float,
        seed: int,
    ) -> tuple[list[Candidate], list[EpisodeTokens]]:
        """The different answers drawn in each state of the prefixes, and the prefixes that were read for them.

        `seed` also decides which states are steered, and by which hypotheses.
        """
        parts = [part for i, prefix in enumerate(prefixes) for part in self._parts(i, prefix, _random(seed, prefix))]
        read = [part.prefix for part in parts]
        drawn = self.sampler.draw(read, temperature=temperature, seed=seed)
        owned = [replace(each, state=parts[each.state[0]].owners[each.state[1]]) for each in drawn]
        return owned, read

    def _parts(self, i: int, prefix: EpisodeTokens, rng: random.Random) -> list[_Part]:
        """The nominal states of a prefix and the steered ones, those of an episode under one hypothesis."""
        steered = [rng.random() < self.share for _ in prefix.states]
        parts = []
        if nominal := [j for j, other in enumerate(steered) if not other]:
            parts.append(_Part(prefix.only(nominal), [(i, j) for j in nominal]))
        if other := [j for j, other in enumerate(steered) if other]:
            first_observation = self.with_hypothesis(prefix.episode.first_observation, rng)
            episode, turns = (
                replace(prefix.episode, first_observation=first_observation),
                [prefix.turns[j] for j in other],
            )
            # Where turns restate the history a prefix has one state, else one prefix has them all.
            (read,) = self.sampler.chat.conversations(episode, self.dialogue, turns)
            parts.append(_Part(read, [(i, j) for j in other]))
        return parts


def _random(seed: int, prefix: EpisodeTokens) -> random.Random:
    """A prefix's own, whatever else is drawn with it."""
    return random.Random(f"{seed} steered {prefix.episode.episode_id} {prefix.turns}")
