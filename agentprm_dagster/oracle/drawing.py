"""Which states the oracle is asked about: real ones, spread over kinds of task, phases of an episode, and games."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from agentprm_dagster.algorithm.targets import states_of
from agentprm_dagster.episodes.records import Episode

Phase = Literal["early", "middle", "late"]
PHASES: tuple[Phase, ...] = get_args(Phase)
"""The thirds of an episode, by its turns."""


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A state along an episode."""

    episode: Episode
    turn: int
    """Before which it is."""

    @property
    def phase(self) -> Phase:
        """In which third of the episode it lies."""
        return PHASES[len(PHASES) * self.turn // len(self.episode.turns)]


def draw_points(episodes: Iterable[Episode], count: int, seed: int) -> list[Point]:
    """At most `count` different states in which whole episodes took decisions, in the order of games and turns.

    Every kind of task and every phase gives as many as every other while it has any; of those that a cell has, the one
    comes next whose game was drawn from the least.
    """
    rng = random.Random(f"{seed} oracle states")
    points = list(_different(episodes))
    rng.shuffle(points)
    cells: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for point in points:
        cells[point.episode.task_type, point.phase].append(point)
    drawn: list[Point] = []
    of_game: Counter[str] = Counter()
    while len(drawn) < count and (left := [cell for cell in cells.values() if cell]):
        for cell in left[: count - len(drawn)]:
            next_one = min(range(len(cell)), key=lambda i: of_game[cell[i].episode.game])
            drawn.append(cell.pop(next_one))
            of_game[drawn[-1].episode.game] += 1
    return sorted(drawn, key=lambda point: (point.episode.game, point.episode.episode_id, point.turn))


def _different(episodes: Iterable[Episode]) -> Iterator[Point]:
    """The states of own decisions, each once; branches, which were placed where they are, are left out."""
    seen: set[str] = set()
    for episode in episodes:
        if episode.parent is not None:
            continue
        for turn, state in enumerate(states_of(episode)):
            if turn >= episode.start and state not in seen:
                seen.add(state)
                yield Point(episode, turn)
