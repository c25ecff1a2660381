"""Which games are to be made: what each is drawn from, before any of them is drawn.

What is seen and what is not, by game:

- `cooking`: `train` and `valid_seen` cook food of TextWorld's own split "train", `valid_unseen` that of its "valid":
  food that training never shows, and the food it shows, in preparations that it never shows.
- `coin_collector`: in `valid_unseen` the coin lies one room farther away, among two rooms more.
- `treasure_hunter`: in `valid_unseen` the maze has two rooms more, and the thing lies one farther away.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from agentprm_dagster.envs.textworld.settings import Game, Prose, Settings

Split = Literal["train", "valid_seen", "valid_unseen"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class Plan:
    """One game that is to be made."""

    id: str
    """`<split>/<kind>/<number>`."""
    kind: Game
    seed: str
    """What it is drawn from, together with the number of the attempt."""
    prose: Prose
    difficulty: dict[str, int | str]
    """Arguments of the kind's maker (`make.py`)."""


def plans(settings: Settings, seed: int) -> Iterator[Plan]:
    """The games of all splits, `train` first; kinds take turns, so that every split holds as many of each."""
    for split in SPLITS:
        for index in range(getattr(settings, split)):
            kind = settings.games[index % len(settings.games)]
            yield Plan(
                id=f"{split}/{kind}/{index:05d}",
                kind=kind,
                seed=f"{seed} {split} {index}",
                prose=settings.prose,
                difficulty=_difficulty(settings, kind, farther=split == "valid_unseen"),
            )


def _difficulty(settings: Settings, kind: Game, *, farther: bool) -> dict[str, int | str]:
    if kind == "cooking":
        food = "valid" if farther else "train"
        return {"ingredients": settings.ingredients, "rooms": settings.cooking_rooms, "food": food}
    if kind == "coin_collector":
        return {"distance": settings.coin_distance + farther}
    return {"rooms": settings.treasure_rooms + 2 * farther, "distance": settings.treasure_rooms // 2 + farther}
