"""The manifest: what the digests cover, what they do not, and that nothing passes unnoticed when it is read."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agentprm_dagster.episodes.stage import Gate
from agentprm_dagster.provenance.canonical import digest_of, seal, unseal
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.manifest import AssetPartition, Code, FileEntry, Input, Manifest, Recipe, Version

POLICY = Input("behaviour_policy", "smoke", "improved_policy", 1, "a" * 64)
GAMES = Input("games", "smoke", "demonstrations", 1, "b" * 64)
RECIPE = Recipe(
    experiment="smoke",
    asset="rollouts",
    iteration=2,
    inputs=(POLICY, GAMES),
    config={"rollouts": {"temperature": 1.0, "games": 3}},
    code=Code("0.1.0", "c" * 64, "deadbeef", False),
    seeds={"stage": 7},
)
FILES = (FileEntry("episodes.parquet", "d" * 64, 10, 3), FileEntry("page.md", "e" * 64, 5, None))


def manifest_of(recipe: Recipe, files: tuple[FileEntry, ...] = FILES) -> Manifest:
    return Manifest(
        schema="agentprm-manifest-2",
        asset=recipe.asset,
        experiment=recipe.experiment,
        iteration=recipe.iteration,
        digest=recipe.digest(files),
        key=recipe.key,
        inputs=recipe.inputs,
        config=recipe.config,
        config_digest=digest_of(recipe.config),
        code=recipe.code,
        environment={"torch": "2.13.0"},
        seeds=recipe.seeds,
        files=files,
        metrics={"won": 0.5},
        gates=(Gate("both_outcomes", True, "expected both, got both", 0.5),),
        dagster_run_id="run",
        mlflow_run_id=None,
        started="2026-01-01T00:00:00+00:00",
        seconds=1.5,
        adopted=None,
    )


MANIFEST = manifest_of(RECIPE)


def test_it_comes_back_from_json() -> None:
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST
    assert MANIFEST.recipe == RECIPE
    older = json.loads(MANIFEST.to_json())
    for gate in older["gates"]:
        del gate["warns"]  # what was written before gates could warn
    del older["seal"]
    assert Manifest.from_json(seal(older)) == MANIFEST
    assert MANIFEST.faults() == []


@pytest.mark.parametrize(
    "change",
    [
        {"asset": "prm"},
        {"iteration": 3},
        {"inputs": (POLICY,)},
        {"inputs": (replace(POLICY, digest="f" * 64), GAMES)},
        {"inputs": (replace(POLICY, role="teacher"), GAMES)},
        {"config": {"rollouts": {"temperature": 1.0, "games": 4}}},
        {"code": Code("0.2.0", "c" * 64, None, None)},
        {"code": Code("0.1.0", "0" * 64, None, None)},
        {"seeds": {"stage": 8}},
    ],
)
def test_the_key_covers_what_decides_the_result(change: dict[str, Any]) -> None:
    other = replace(RECIPE, **change)
    assert other.key != RECIPE.key
    assert other.digest(FILES) != RECIPE.digest(FILES)


@pytest.mark.parametrize(
    "change",
    [
        {"experiment": "another_name"},
        {"inputs": (GAMES, POLICY)},
        {"inputs": (replace(POLICY, experiment="another_name"), GAMES)},
        {"config": {"rollouts": {"games": 3, "temperature": 1.0}}},
        {"code": Code("0.1.0", "c" * 64, "another commit", True)},
    ],
)
def test_the_key_covers_nothing_else(change: dict[str, Any]) -> None:
    assert replace(RECIPE, **change).key == RECIPE.key


def test_the_digest_covers_every_file_and_not_their_order() -> None:
    assert RECIPE.digest(reversed(FILES)) == RECIPE.digest(FILES)
    for other in (
        FILES[:1],
        (FILES[0], replace(FILES[1], path="x.md")),
        (FILES[0], replace(FILES[1], sha256="0" * 64)),
    ):
        assert RECIPE.digest(other) != RECIPE.digest(FILES)


@given(st.integers(min_value=0, max_value=len(MANIFEST.to_json()) - 1), st.characters(codec="ascii"))
def test_no_character_can_be_changed_unnoticed(position: int, character: str) -> None:
    text = MANIFEST.to_json()
    changed = text[:position] + character + text[position + 1 :]
    if changed != text:
        with pytest.raises(ArtifactError):
            Manifest.from_json(changed)


def test_unknown_missing_and_ill_typed_keys_are_named() -> None:
    record = asdict(MANIFEST)
    missing = {name: value for name, value in record.items() if name != "seeds"}
    for wrong, named in [
        ({**record, "extra": 1}, "extra"),
        (missing, "seeds"),
        ({**record, "iteration": "2"}, "iteration"),
    ]:
        with pytest.raises(ArtifactError, match=named):
            Manifest.from_json(seal(wrong))


def test_a_digest_that_does_not_follow_is_a_fault() -> None:
    assert replace(MANIFEST, metrics={"won": 1.0}).faults() == []
    assert replace(MANIFEST, key="0" * 64).faults() == ["key"]
    assert replace(MANIFEST, config={}).faults() == ["key", "config_digest", "digest"]
    assert replace(MANIFEST, files=FILES[:1]).faults() == ["digest"]


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "/a", "a b", "a\n", "ü", "a" * 101])
def test_names_cannot_leave_the_store(name: str) -> None:
    for make in (
        lambda: AssetPartition(name, "prm", 1),
        lambda: AssetPartition("smoke", name, 1),
        lambda: Version(name, "prm", 1, "0" * 64),
    ):
        with pytest.raises(ValidationError):
            make()


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../b", "a\\b", "a//b", "./a", "."])
def test_file_paths_cannot_leave_the_artifact(path: str) -> None:
    with pytest.raises(ValidationError):
        FileEntry(path, "0" * 64, 0, None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_cannot_say_are_refused(value: float) -> None:
    with pytest.raises(ValidationError):
        replace(MANIFEST, metrics={"loss": value})
    with pytest.raises(ValidationError):
        replace(RECIPE, config={"loss": value})


def test_a_metric_that_is_no_number_is_none() -> None:
    manifest = replace(MANIFEST, metrics={"loss": None})
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_wrong_iterations_are_refused() -> None:
    wrong: tuple[Any, ...] = (-1, True, "1", 1.0)
    for iteration in wrong:
        with pytest.raises(ValidationError):
            AssetPartition("smoke", "prm", iteration)


def test_a_seal_is_of_the_whole_text() -> None:
    text = seal({"a": 1})
    assert unseal(text) == {"a": 1}
    for wrong in (json.dumps(json.loads(text)), text + " ", '{"a": 1}', "[]", ""):
        with pytest.raises(ValueError, match=r"seal|Expecting"):
            unseal(wrong)
