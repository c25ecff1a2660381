"""Expert episodes: what pi_0 is fine-tuned on, and what InversePRM takes for good.

The expert gives commands; the REASON beside each is a sentence made by rule from what the episode has shown so far.
Mistakes may be mixed in (`core.slips`) for the expert to recover from; they alone are not admissible.
"""

import random
from collections.abc import Sequence
from functools import partial
from itertools import cycle, islice
from typing import Protocol, TypeVar

from agentprm_dagster.core.dialogue import write_answer
from agentprm_dagster.core.reasons import explain
from agentprm_dagster.core.slips import draw_slips
from agentprm_dagster.core.stage import Gate, Monitor, StageReport
from agentprm_dagster.core.types import Episode, Observation, Playable, Turn


class ExpertGaveUp(RuntimeError):
    """A demonstrator has no advice left for its game."""


class Expert(Protocol):
    """A demonstrator of one game."""

    def act(self, observation: Observation) -> str:
        """The next command after `observation`; ExpertGaveUp when there is none."""


class Demonstrable(Playable, Protocol):
    """A game that an expert can play."""

    def expert(self, kind: str, seed: int) -> Expert:
        """A new expert for a new episode."""


G = TypeVar("G", bound=Playable)


def demonstrate(
    game: Demonstrable,
    *,
    episode_id: str,
    kind: str,
    max_steps: int,
    seed: int,
    slips: float = 0.0,
    keep_candidates: bool = False,
) -> Episode:
    """One expert episode; lost where the expert gives up or has not won within `max_steps`, mistakes included.

    Before a share `slips` of the expert's turns the player errs. Nothing happens then, and the expert is not told.
    """
    environment = game.environment()
    expert = game.expert(kind, seed)
    rng = random.Random(seed)
    observation = first = environment.reset()
    turns: list[Turn] = []

    def play(reason: str, action: str) -> Observation:
        before, after = observation, environment.step(action)
        turns.append(
            Turn(
                reason=reason,
                action=action,
                observation=after.text,
                response=write_answer(reason, action),
                admissible=action in before.admissible_commands,
                candidates=before.admissible_commands if keep_candidates else (),
            )
        )
        return after

    while not observation.done and len(turns) < max_steps:
        try:
            action = expert.act(observation)
        except ExpertGaveUp:
            break
        if rng.random() < slips:
            for reason, mistake in draw_slips(first.text, tuple(turns), rng):
                if mistake in observation.admissible_commands or len(turns) >= max_steps - 1:
                    break
                play(reason, mistake)
        observation = play(explain(first.text, turns, action), action)
    truncated = not observation.done
    return Episode(
        episode_id, game.id, game.task_type, first.text, tuple(turns), won=observation.won, truncated=truncated
    )


def in_turn(games: Sequence[G], episodes: int) -> list[tuple[str, G]]:
    """So many episodes' ids and games: the games in turn, more than once where there are fewer of them."""
    return [(f"{game.id}#{i // len(games)}", game) for i, game in enumerate(islice(cycle(games), episodes))]


def collect_demonstrations(
    games: Sequence[Demonstrable],
    *,
    expert: str,
    episodes: int,
    max_steps: int,
    seed: int,
    monitor: Monitor,
    slips: float = 0.0,
    keep_candidates: bool = False,
) -> list[Episode]:
    """Plays the games `in_turn`; won and lost ones."""
    show = partial(demonstrate, kind=expert, max_steps=max_steps, slips=slips, keep_candidates=keep_candidates)
    demonstrations = []
    for i, (episode_id, game) in enumerate(in_turn(games, episodes)):
        demonstrations.append(show(game, episode_id=episode_id, seed=seed + i))
        if i % 50 == 49 or i == episodes - 1:
            monitor.progress(i + 1, episodes, "demonstrations")
    return demonstrations


def demonstrations_report(episodes: Sequence[Episode], *, min_success: float) -> StageReport:
    """How often and how fast the expert won; only won episodes are learnt from."""
    won = [episode for episode in episodes if episode.won]
    turns = sum(len(episode.turns) for episode in won)
    share = len(won) / len(episodes)
    metrics = {
        "episodes": len(episodes),
        "success_rate": share,
        **({"mean_actions_won": turns / len(won)} if won else {}),
        "turns": turns,
        "slips": sum(not turn.admissible for episode in won for turn in episode.turns),
        "games": len({episode.game for episode in episodes}),
    }
    gate = Gate(
        "expert_success",
        share >= min_success,
        f"the expert won {len(won)} of {len(episodes)} games ({share:.1%}); expected at least {min_success:.0%}: raise "
        "demonstrations.max_steps or choose another expert",
        share,
    )
    return StageReport(metrics, (gate,), _preview(won[:1], metrics))


def _preview(sample: Sequence[Episode], metrics: dict[str, float]) -> str:
    table = "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value:.4g} |" for name, value in metrics.items())
    return table + "\n\n" + "\n\n".join(map(transcript, sample))


def transcript(episode: Episode) -> str:
    """An episode as markdown that a person reads."""
    turns = "\n".join(f"{turn.response}\n\n> {turn.observation}\n" for turn in episode.turns)
    outcome = "won" if episode.won else "lost"
    return (
        f"**{episode.episode_id}** ({outcome}, {len(episode.turns)} actions)\n\n{episode.first_observation}\n\n{turns}"
    )
