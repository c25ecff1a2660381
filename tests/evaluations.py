"""An experiment's policies and evaluations, made of a few bytes and short episodes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.episodes.tables import write_episodes
from agentprm_dagster.episodes.values import TurnValue, write_values
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.reports.evaluation import EVALUATION, evaluation_row, folder_name
from agentprm_dagster.resources.tracker import TrackerResource
from tracked import CHECKPOINT, make, recipe_of

GAMES = 8


def played(wins: int, games: int = GAMES) -> list[Episode]:
    """One episode a game, of which the first so many are won, each of another length."""
    turns = tuple(
        Turn(f"reason {t}", f"go {t}", f"Room {t}.", f"REASON: reason {t}\nACTION: go {t}", admissible=t != 1)
        for t in range(GAMES)
    )
    return [
        Episode(f"game-{i}#0", f"game-{i}", "go", f"Task {i}: find it.", turns[: i % 3 + 1], float(i < wins))
        for i in range(games)
    ]


def values_of(episodes: Sequence[Episode]) -> dict[str, list[TurnValue]]:
    """A value for every turn, of which the last ones were not read after the observation."""
    return {
        each.episode_id: [
            TurnValue(1 / (t + 2), None if t + 1 == len(each.turns) else 1 / (t + 3)) for t in range(len(each.turns))
        ]
        for each in episodes
    }


def policy(tracker: TrackerResource, store: ArtifactStore, experiment: str, iteration: int) -> Artifact:
    """pi_i; every iteration's has weights of its own."""
    asset = "improved_policy" if iteration else "initial_policy"
    files = {**CHECKPOINT, "model/model.safetensors": f"weights {iteration}".encode()}
    return make(tracker, store, recipe_of(experiment, asset, iteration), files)


def evaluation(
    tracker: TrackerResource,
    store: ArtifactStore,
    experiment: str,
    policies: Mapping[int, Artifact],
    wins: Mapping[int, int],
) -> Artifact:
    """An `eval_report` of some policies, greedy and Best-of-4, which wins one game more."""
    last = max(policies)
    recipe = recipe_of(experiment, "eval_report", last, tuple(each.as_input(f"pi_{i}") for i, each in policies.items()))
    plays = [
        (
            {"policy": f"pi_{i}", "split": "valid_unseen", "best_of": n, "ranked_by": "prm" if n > 1 else None},
            i,
            wins[i],
        )
        for i in policies
        for n in (1, 4)
    ]
    with TemporaryDirectory() as folder:
        rows = []
        for known, i, won in plays:
            how: dict[str, Any] = {**known, "world": None, "horizon": 0}
            episodes = played(won + (how["best_of"] > 1))
            place = Path(folder) / folder_name(how)
            place.mkdir()
            write_episodes(episodes, place)
            write_values(values_of(episodes), place)
            rest: dict[str, Any] = {
                "experiment": "any",
                "iteration": i,
                "max_steps": 9,
                "seed": 0,
                "tokens": 1,
                "kinds": ("go",),
            }
            rows.append(evaluation_row(episodes, **how, **rest))
        (Path(folder) / EVALUATION).write_text(json.dumps(rows), encoding="utf-8")
        (Path(folder) / "page.md").write_text("| split |\n|---|\n\n![success](success.png)\n", encoding="utf-8")
        (Path(folder) / "success.png").write_bytes(b"a picture")
        return make(tracker, store, recipe, files_in(Path(folder)))


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by its path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
