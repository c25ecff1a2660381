"""Artifacts made of a few bytes."""

from collections.abc import Mapping
from typing import Any

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.manifest import Code, Input, Recipe
from agentprm_dagster.provenance.store import ArtifactStore

CODE = Code(version="0.1.0", source="0" * 64, git_commit=None, dirty=None)
FILES = {"data.json": b"{}"}


def make_recipe(
    asset: str = "rollouts",
    iteration: int = 1,
    inputs: tuple[Input, ...] = (),
    *,
    experiment: str = "smoke",
    config: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Recipe:
    """A recipe that nothing was made from yet."""
    return Recipe(experiment, asset, iteration, inputs, dict(config or {}), CODE, {"stage": seed})


def commit(store: ArtifactStore, recipe: Recipe, files: Mapping[str, bytes] = FILES) -> Artifact:
    """Makes what the recipe is of, out of these files."""
    with store.draft(recipe) as draft:
        for name, content in files.items():
            path = draft.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return draft.commit(metrics={"files": len(files)})
