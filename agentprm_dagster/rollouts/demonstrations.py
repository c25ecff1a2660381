"""Expert episodes: what pi_0 is fine-tuned on, and what InversePRM takes for good.

The expert gives commands; the REASON beside each is a sentence made by rule from what the episode has shown so far.
Mistakes may be mixed in (`envs.base.DrawsMistakes`) for the expert to recover from. They, and looking into a
place that the room turns out not to have, are all that is not admissible.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from typing import Protocol, TypeVar

from agentprm_dagster.envs.base import (
    Demonstrable,
    DrawsMistakenPlaces,
    DrawsMistakes,
    EnvironmentKind,
    ExpertGaveUp,
    OrdersSearch,
    Task,
    explain_in,
)
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.episodes.stage import Monitor

G = TypeVar("G", bound=Task)
DrawMistakes = Callable[[str, Sequence[Turn], random.Random], Iterator[tuple[str, str]]]
"""See `envs.base.DrawsMistakes`."""


class HowShown(Protocol):
    """What of the settings of demonstrations says how a game is played."""

    @property
    def max_steps(self) -> int: ...
    @property
    def action_noise(self) -> float: ...
    @property
    def place_noise(self) -> float: ...


class Demonstration:
    """A game as somebody plays it who knows what to do: with a reason beside each command, worded by rule.

    Before a share `action_noise` of the commands the player errs, in environments that know how (`DrawsMistakes`), and
    before a share `place_noise` about where it can go (`DrawsMistakenPlaces`). Nothing happens then.
    """

    def __init__(
        self,
        game: Task,
        kind: EnvironmentKind,
        *,
        max_steps: int,
        seed: int | str,
        action_noise: float = 0.0,
        place_noise: float = 0.0,
        keep_candidates: bool = False,
    ) -> None:
        self._game, self._kind, self._max_steps = game, kind, max_steps
        self._keep_candidates = keep_candidates
        self._rng = random.Random(seed)
        self._mistakes: list[tuple[float, DrawMistakes]] = []
        """How often they are made, and what they are."""
        if action_noise and isinstance(kind, DrawsMistakes):
            self._mistakes.append((action_noise, kind.mistakes))
        if place_noise and isinstance(kind, DrawsMistakenPlaces):
            self._mistakes.append((place_noise, kind.mistaken_places))
        self._explain = explain_in(kind)
        self._environment = game.environment()
        self.observation = self._first = self._environment.reset()
        """What was observed last."""
        self._turns: list[Turn] = []

    @property
    def over(self) -> bool:
        """Whether the game has ended or its steps are used up."""
        return self.observation.done or len(self._turns) >= self._max_steps

    @property
    def refused(self) -> str | None:
        """The last command, if it could not be done."""
        return self._turns[-1].action if self._turns and not self._turns[-1].admissible else None

    @property
    def first_observation(self) -> str:
        """What was observed before any command."""
        return self._first.text

    @property
    def turns(self) -> Sequence[Turn]:
        """What was said and done so far."""
        return self._turns

    def do(self, action: str) -> None:
        """Plays a command, perhaps after a mistake; first what is done behind a refused one (`OrdersSearch`)."""
        for share, draw in self._mistakes:
            if self._rng.random() < share:
                for reason, mistake in draw(self._first.text, tuple(self._turns), self._rng):
                    if self.observation.admits(mistake) or len(self._turns) >= self._max_steps - 1:
                        break
                    self._play(reason, mistake)
        for each in self._after_refusal(action):
            if not self.over:
                self._play(self._explain(self._first.text, self._turns, each), each)

    def _after_refusal(self, action: str) -> list[str]:
        """`action`, and before it what is done behind a command that could not be done; once, where they are one."""
        if not (self.refused and isinstance(self._kind, OrdersSearch)):
            return [action]
        then = self._kind.after_refusal(self.refused)
        return then if then and action in (self.refused, *then) else [*then, action]

    def repeat(self, turns: Sequence[Turn]) -> None:
        """Plays what somebody else has said and done.

        Raises:
            RuntimeError: the game replies otherwise than it did then.
        """
        for turn in turns:
            self.observation = self._environment.step(turn.action)
            if self.observation.text != turn.observation:
                raise RuntimeError(
                    f"{self._game.id}: {turn.action!r} was replied {turn.observation!r}, and is replied "
                    f"{self.observation.text!r} now"
                )
            self._turns.append(turn)

    def episode(self, episode_id: str, start: int = 0) -> Episode:
        """What was played so far; its own turns begin at `start`."""
        last, game = self.observation, self._game
        truncated = not last.done or last.truncated
        return Episode(
            episode_id,
            game.id,
            game.kind,
            self._first.text,
            tuple(self._turns),
            reward=last.reward,
            start=start,
            truncated=truncated,
        )

    def _play(self, reason: str, action: str) -> None:
        before, after = self.observation, self._environment.step(action)
        turn = Turn(
            reason=reason,
            action=action,
            observation=after.text,
            response=write_answer(reason, action),
            admissible=before.admits(action),
            candidates=before.commands if self._keep_candidates else (),
        )
        self._turns.append(turn)
        self.observation = after


def demonstrator(kind: EnvironmentKind, how: HowShown, *, keep_candidates: bool) -> Callable[..., Demonstration]:
    """`Demonstration` of a game and a `seed`, as long as `how` says and with as many mistakes."""
    return partial(
        Demonstration,
        kind=kind,
        max_steps=how.max_steps,
        action_noise=how.action_noise,
        place_noise=how.place_noise,
        keep_candidates=keep_candidates,
    )


def demonstrate(
    game: Task,
    kind: EnvironmentKind,
    *,
    episode_id: str,
    expert: str,
    max_steps: int,
    seed: int,
    action_noise: float = 0.0,
    place_noise: float = 0.0,
    keep_candidates: bool = False,
) -> Episode:
    """One expert episode; lost where the expert gives up or has not won within `max_steps`, mistakes included.

    Of mistakes (`Demonstration`) the expert is not told.

    Raises:
        TypeError: nobody can show the game.
        ValueError: its kind of environment has no such expert.
    """
    if not isinstance(game, Demonstrable):
        raise TypeError(f"expected a game that an expert can play, got {game.id}, which has none")
    if expert not in kind.experts:
        raise ValueError(f"expected an expert of {kind.name}, one of {', '.join(kind.experts)}, got {expert!r}")
    play = Demonstration(
        game,
        kind,
        max_steps=max_steps,
        seed=seed,
        action_noise=action_noise,
        place_noise=place_noise,
        keep_candidates=keep_candidates,
    )
    demonstrator = game.expert(expert, seed)
    while not play.over:
        try:
            action = demonstrator.act(play.observation)
        except ExpertGaveUp:
            break
        play.do(action)
    return play.episode(episode_id)


def in_turn(games: Sequence[G], episodes: int) -> list[tuple[str, G]]:
    """So many episodes' ids and games: the games in turn, more than once where there are fewer of them."""
    return [(f"{game.id}#{i // len(games)}", game) for i, game in enumerate(islice(cycle(games), episodes))]


def collect_demonstrations(
    games: Sequence[Task],
    kind: EnvironmentKind,
    *,
    expert: str,
    episodes: int,
    max_steps: int,
    seed: int,
    monitor: Monitor,
    action_noise: float = 0.0,
    place_noise: float = 0.0,
    keep_candidates: bool = False,
) -> list[Episode]:
    """Plays the games `in_turn`; won and lost ones."""
    show = partial(
        demonstrate,
        expert=expert,
        max_steps=max_steps,
        action_noise=action_noise,
        place_noise=place_noise,
        keep_candidates=keep_candidates,
    )
    demonstrations = []
    for i, (episode_id, game) in enumerate(in_turn(games, episodes)):
        demonstrations.append(show(game, kind, episode_id=episode_id, seed=seed + i))
        if i % 50 == 49 or i == episodes - 1:
            monitor.progress(i + 1, episodes, "demonstrations")
    return demonstrations
