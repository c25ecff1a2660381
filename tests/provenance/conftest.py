"""A store in a temporary folder, and artifacts made of a few bytes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.manifest import Code, Input, Recipe
from agentprm_dagster.provenance.store import ArtifactStore

CODE = Code(version="0.1.0", source="0" * 64, git_commit=None, dirty=None)
FILES = {"data.json": b"{}"}


class MakeRecipe(Protocol):
    def __call__(
        self,
        asset: str = "rollouts",
        iteration: int = 1,
        inputs: tuple[Input, ...] = (),
        *,
        experiment: str = "smoke",
        config: Mapping[str, object] | None = None,
        seed: int = 0,
    ) -> Recipe: ...


class Commit(Protocol):
    def __call__(self, store: ArtifactStore, recipe: Recipe, files: Mapping[str, bytes] = FILES) -> Artifact: ...


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


@pytest.fixture(scope="session")
def make_recipe() -> MakeRecipe:
    def recipe(asset="rollouts", iteration=1, inputs=(), *, experiment="smoke", config=None, seed=0):
        return Recipe(experiment, asset, iteration, inputs, dict(config or {}), CODE, {"stage": seed})

    return recipe


@pytest.fixture(scope="session")
def commit() -> Commit:
    def commit(store, recipe, files=FILES):
        with store.draft(recipe) as draft:
            for name, content in files.items():
                path = draft.path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            return draft.commit(metrics={"files": len(files)})

    return commit
