"""Checks a card on this machine, offline: what it says of itself, its games, and every game played again."""

from collections import Counter
from collections.abc import Iterator, Mapping
from math import isclose
from typing import Any

from pydantic import ValidationError

from agentprm_dagster.bundles.findings import Check
from agentprm_dagster.envs.base import Task, TaskFileError, TaskRef, TasksCountError, TasksNotFoundError
from agentprm_dagster.envs.generated import TasksConflictError
from agentprm_dagster.envs.kinds import KINDS
from agentprm_dagster.scoring.card import Card
from agentprm_dagster.scoring.panel import Panel, PanelGame, find_games, games_of, rules_of
from agentprm_dagster.scoring.records import PlayedGame, known_turns
from agentprm_dagster.scoring.results import results

Games = Mapping[str, Mapping[str, TaskRef]]
"""By split and id, those of a panel that are here, in the same files."""

_MOST_GENERATED = 20_000
"""Games that are made to check a card."""

_SHOWN = 5
"""Of differences that many games may share."""


def check(card: Card) -> Iterator[Check]:
    """Checks digests, records, numbers, games and replays, each told when it is done.

    Games that are generated are made in this home. What trained weights are cannot be checked here.
    """
    own = Check("digests", "panel and protocol", tuple(_digests(card)))
    yield own
    records = Check("records", f"{len(card.runs)} runs", tuple(_records(card)))
    yield records
    if records.differences:
        yield Check("results", "none", not_done=("the records are not those of the panel",))
    else:
        yield Check("results", f"{len(card.results)} rows", tuple(_results(card)))
    games, here = _games(card.panel)
    yield games
    yield _replays(card, here)


def _digests(card: Card) -> Iterator[str]:
    for name, said, found in (
        ("panel", card.panel_digest, card.panel.digest),
        ("protocol", card.protocol_digest, card.protocol.digest),
    ):
        if said != found:
            yield f"the digest of the {name} is written down as {said}, and is {found}"


def _records(card: Card) -> Iterator[str]:
    """Ids that are missing, twice or of no panel; runs that are not agents times seeds."""
    expected = [(agent, seed) for agent in range(len(card.agents)) for seed in card.protocol.seeds]
    if (found := [(run.agent, run.seed) for run in card.runs]) != expected:
        yield f"expected runs of agents and seeds {expected}, got {found}"
    for number, run in enumerate(card.runs):
        if run.games.keys() != card.panel.splits.keys():
            yield f"run {number} has the splits {', '.join(run.games)}, and the panel {', '.join(card.panel.splits)}"
        for split in run.games.keys() & card.panel.splits.keys():
            played = Counter(game.id for game in run.games[split])
            listed = Counter(game.id for game in card.panel.splits[split])
            for name in sorted(played.keys() | listed.keys()):
                if (times := (played[name], listed[name])) != (1, 1):
                    yield f"run {number}, {split}: {name} was played {times[0]} times, and is listed {times[1]} times"
        for game in (game for games in run.games.values() for game in games):
            if len(game.commands) > card.panel.cap:
                yield f"run {number}: {game.id} took {len(game.commands)} actions of at most {card.panel.cap}"


def _results(card: Card) -> Iterator[str]:
    said = {f"{row.split}, {row.cap} actions": row.model_dump() for row in card.results}
    found = {f"{row.split}, {row.cap} actions": row.model_dump() for row in results(card.panel, card.runs)}
    if len(said) < len(card.results):
        yield "a row is there twice"
    yield from _differing(said, found)


def _differing(said: Any, found: Any, name: str = "") -> Iterator[str]:
    """Every value that is another, by its name."""
    if isinstance(said, Mapping) and isinstance(found, Mapping):
        for key in sorted(said.keys() | found.keys()):
            yield from _differing(said.get(key), found.get(key), f"{name}: {key}" if name else key)
    elif isinstance(said, float) and isinstance(found, float):
        if not isclose(said, found, rel_tol=1e-9, abs_tol=1e-12):
            yield f"{name} is written down as {said}, and the records give {found}"
    elif said != found:
        yield f"{name} is written down as {said!r}, and the records give {found!r}"


def _games(panel: Panel) -> tuple[Check, Games]:
    """The panel's games on this machine: whether it lists all that it says it does, in the files that are here."""
    counted = f"{sum(map(len, panel.splits.values()))} games"
    if panel.environment not in KINDS:
        return Check("games", counted, not_done=(f"this version knows no environment {panel.environment!r}",)), {}
    differences, not_done, here = [], [], {}
    if (rules := rules_of(panel.kind)) != panel.rules:
        not_done.append(f"the rules are {panel.rules}, and those of this version {rules}")
    if panel.source.settings.get("kind") != panel.environment:
        differences.append(f"the source's games are not those of {panel.environment}")
        return Check("games", counted, tuple(differences)), {}
    if (made := _generated(panel)) > _MOST_GENERATED:
        not_done.append(f"its settings ask for {made} games to be generated, more than {_MOST_GENERATED}")
        return Check("games", counted, tuple(differences), tuple(not_done)), {}
    for split, listed in panel.splits.items():
        try:
            refs = find_games(panel.source, split)
        except ValidationError as error:
            differences.append(f"the source's settings are none of {panel.environment}: {error.errors()[0]['msg']}")
            continue
        except (TasksNotFoundError, TasksCountError, TasksConflictError, TaskFileError, ValueError) as error:
            not_done.append(f"{split}: its games are not on this machine: {error}")
            continue
        found = {game.id: game for game in games_of(panel.kind, refs)}
        named = {game.id: game for game in listed}
        differences += _odd_games(split, named, found)
        here[split] = {ref.id: ref for ref in refs if named.get(ref.id) == found[ref.id]}
    return Check("games", counted, tuple(differences), tuple(not_done)), here


def _generated(panel: Panel) -> int:
    """How many games would be made, as far as the settings say: a card from elsewhere may ask for any number."""
    counts = (panel.source.settings.get(split) for split in ("train", *panel.kind.splits))
    return sum(count for count in counts if isinstance(count, int))


def _odd_games(split: str, named: Mapping[str, PanelGame], found: Mapping[str, PanelGame]) -> Iterator[str]:
    groups = {
        "on this machine, and left out of the panel": sorted(found.keys() - named.keys()),
        "in the panel, and not on this machine": sorted(named.keys() - found.keys()),
        "of another kind or with other files here": sorted(
            each for each in named.keys() & found.keys() if named[each] != found[each]
        ),
    }
    for what, ids in groups.items():
        if ids:
            yield f"{split}: {len(ids)} of {len(named)} games are {what}: {', '.join(ids[:_SHOWN])}"


def _replays(card: Card, here: Games) -> Check:
    """Every game of every run played again, on the fast engine."""
    differences, replayed, missing = [], 0, 0
    for split in sorted(card.panel.splits):
        played: dict[str, list[tuple[int, PlayedGame]]] = {}
        for number, run in enumerate(card.runs):
            for game in run.games.get(split, ()):
                played.setdefault(game.id, []).append((number, game))
        for name, games in played.items():
            if (ref := here.get(split, {}).get(name)) is None:
                missing += len(games)
                continue
            task = card.panel.kind.open(ref)
            for number, game in games:
                found = next(replay_differences(task, game, card.panel.cap), None)
                differences += [f"run {number}, {name}: {found}"] if found else []
                replayed += 1
    not_done = (f"{missing} plays of games that are not on this machine",) if missing else ()
    return Check("replay", f"{replayed} plays", tuple(differences), not_done)


def replay_differences(task: Task, game: PlayedGame, cap: int) -> Iterator[str]:
    """How a game differs from its replay; after the first difference the rest says little."""
    environment = task.environment()
    observation = environment.reset()
    seen, invalid = [observation.text], []
    for turn, command in enumerate(game.commands):
        if observation.done:
            yield f"it has {len(game.commands)} commands, and the game was over after {turn}"
        if not observation.admits(command):
            invalid.append(turn)
        observation = environment.step(command)
        seen.append(observation.text)
    if observation.won != game.won:
        yield f"it is written down as {_outcome(game.won)}, and its commands have it {_outcome(observation.won)}"
    if not (observation.done or game.gave_up or len(game.commands) == cap):
        yield f"it has {len(game.commands)} commands of {cap}, and the game was not over"
    if tuple(invalid) != game.invalid:
        yield f"the turns not accepted are written down as {list(game.invalid)}, and were {invalid}"
    if (known := known_turns(seen)) != game.known:
        yield f"the turns with nothing new are written down as {list(game.known)}, and were {list(known)}"


def _outcome(won: bool) -> str:
    return "won" if won else "lost"
