"""The word for how far an artifact can be made again."""

from typing import Any

import pytest

from agentprm_dagster.provenance.canonical import seal, unseal
from agentprm_dagster.provenance.manifest import Manifest
from agentprm_dagster.provenance.reproducible import Reproducible, how_reproducible
from agentprm_dagster.provenance.store import ArtifactStore
from artifacts import make_recipe

VLLM = {"engine.kind": "vllm", "engine.dtype": "float32", "engine.tensor_parallel": "1", "engine.replicas": "4"}


@pytest.mark.parametrize(
    ("config", "environment", "word"),
    [
        ({}, {}, "bitwise"),
        ({}, {"products": "bfloat16", "processor": "any with AMX"}, "bitwise"),
        ({}, {"engine.kind": "embedded"}, "bitwise"),
        ({}, {"training.device": "auto"}, "bitwise"),
        ({}, {"engine.kind": "transformers", "engine.dtype": "float32", "engine.device": "auto"}, "per seed"),
        ({}, {"engine.kind": "transformers", "engine.dtype": "bfloat16"}, "statistical"),
        ({}, VLLM, "per seed"),
        ({}, {**VLLM, "engine.gpu": "NVIDIA H200"}, "per seed"),
        ({}, {**VLLM, "engine.dtype": "bfloat16, float32"}, "statistical"),
        ({}, {**VLLM, "engine.dtype": ""}, "statistical"),
        ({}, {**VLLM, "engine.tensor_parallel": "2"}, "statistical"),
        ({}, {"engine.kind": "somebody_elses"}, "statistical"),
        ({}, {"training.device": "cuda", "gpu": "NVIDIA H200"}, "statistical"),
        ({"llm_model": "gpt-4o"}, {}, "statistical"),
    ],
)
def test_the_word_follows_from_what_is_recorded(
    config: dict[str, Any], environment: dict[str, str], word: Reproducible
) -> None:
    assert how_reproducible(config, environment) == word


def test_a_manifest_says_what_was_used_and_the_word_for_it(store: ArtifactStore) -> None:
    recipe = make_recipe()
    with store.draft(recipe) as draft:
        (draft.path / "data.json").write_bytes(b"{}")
        made = draft.commit(metrics={}, used=VLLM)
    read = store.current("smoke", "rollouts", 1).manifest
    assert read == made.manifest
    assert VLLM.items() <= read.environment.items()
    assert "torch" in read.environment
    assert read.reproducible == "per seed"
    assert read.key == recipe.key


def test_manifests_of_before_can_be_read(store: ArtifactStore) -> None:
    with store.draft(make_recipe()) as draft:
        (draft.path / "data.json").write_bytes(b"{}")
        made = draft.commit(metrics={}).manifest
    values = unseal(made.to_json())
    assert isinstance(values, dict)
    del values["reproducible"]
    old = Manifest.from_json(seal(values))
    assert old.reproducible is None
    assert old.faults() == []
