"""Which games are held out, by their ids alone."""

import hashlib
from collections.abc import Iterable


def hold_out(games: Iterable[str], share: float, seed: int) -> set[str]:
    """About a share of the games, at least one where any is asked for.

    Whether a game is among them depends on its id and the seed, and not on the other games: what one iteration holds
    out, no other learns from.
    """
    places = {game: _place(game, seed) for game in games}
    if not share or not places:
        return set()
    return {game for game in places if places[game] < share} or {min(places, key=lambda game: places[game])}


def part_of_game(game: str, parts: int, seed: int) -> int:
    """Which of some parts of about the same size a game belongs to, whatever other games there are."""
    return int(_place(f"part {game}", seed) * parts)


def _place(game: str, seed: int) -> float:
    """A number in [0, 1) that looks random."""
    digest = hashlib.blake2b(f"{seed}\0{game}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 2**56
