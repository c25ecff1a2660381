"""Export: everything or nothing, in one step, readable, and only what belongs together."""

import json
import os
import shutil
from pathlib import Path

import pytest

from agentprm_dagster.bundles.errors import BundleError
from agentprm_dagster.bundles.export import export, settings_text
from agentprm_dagster.bundles.opened import read_settings
from agentprm_dagster.bundles.record import SETTINGS
from agentprm_dagster.config.catalog import experiment_files, load_experiment
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.store import ArtifactStore


@pytest.fixture
def owner(made: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    """The store in the home that the iteration was made in. Not to be written to."""
    monkeypatch.setenv("AGENTPRM_HOME", str(made / "home"))
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(made / "experiments"))
    return ArtifactStore(made / "home/artifacts")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_iteration_gives_the_same_bytes_that_everybody_may_read(
    owner: ArtifactStore, made: Path, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        export(owner, load_experiment("toy"), 1, None, tmp_path / "out")
    finally:
        os.umask(before)
    assert contents(tmp_path / "out") == contents(made / "bundle")
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert modes == {0o644}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755


def test_artifacts_lie_in_it_as_they_lie_in_the_store(owner: ArtifactStore, made: Path) -> None:
    for part, asset in (("policy", "improved_policy"), ("reward_model", "prm"), ("evaluation", "eval_report")):
        artifact = owner.current("toy", asset, 1)
        exported = contents(made / "bundle" / part)
        exported.pop("README.md")
        stored = contents(artifact.path)
        stored.pop("manifest.json")
        assert exported == stored


def test_nothing_is_overwritten(owner: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("out", "link"):
        with pytest.raises(BundleError, match="is there already, and nothing is overwritten"):
            export(owner, load_experiment("toy"), 1, None, tmp_path / name)
    with pytest.raises(BundleError, match="is no folder"):
        export(owner, load_experiment("toy"), 1, None, tmp_path / "missing" / "out")


def test_a_name_that_the_hub_does_not_know(owner: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="--hub: expected a user or an organisation"):
        export(owner, load_experiment("toy"), 1, "org/name", tmp_path / "out")


def test_what_fails_leaves_nothing(owner: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agentprm_dagster.bundles.export.write_cards", full)
    with pytest.raises(OSError, match="No space left"):
        export(owner, load_experiment("toy"), 1, None, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_iteration_that_was_not_made(owner: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no evaluation of iteration 2 .* there are: 1"):
        export(owner, load_experiment("toy"), 2, None, tmp_path / "out")


def test_settings_that_were_edited_since(owner: ArtifactStore, tmp_path: Path) -> None:
    experiment = load_experiment("toy")
    edited = experiment.model_copy(update={"targets": experiment.targets.model_copy(update={"gamma": 0.5})})
    with pytest.raises(BundleError, match="targets was made under targets = "):
        export(owner, edited, 1, None, tmp_path / "out")


def test_other_games_than_were_played(owner: ArtifactStore, tmp_path: Path) -> None:
    experiment = load_experiment("toy")
    fewer = experiment.environment.model_copy(update={"valid_seen": 6})
    with pytest.raises(BundleError, match=r"eval_report\[1\] .* was played in other games than those that are here"):
        export(owner, experiment.model_copy(update={"environment": fewer}), 1, None, tmp_path / "out")


def test_a_lineage_with_a_gap(
    owner: ArtifactStore, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made / "home", tmp_path / "home")
    monkeypatch.setenv("AGENTPRM_HOME", str(tmp_path / "home"))
    shutil.rmtree(tmp_path / "home/artifacts/toy/demonstrations")
    store = ArtifactStore(tmp_path / "home/artifacts")
    with pytest.raises(ArtifactError, match=r"toy/demonstrations\[0\] .* cannot be read"):
        export(store, load_experiment("toy"), 1, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", experiment_files())
def test_all_settings_of_an_experiment_survive_their_file(name: str, tmp_path: Path) -> None:
    experiment = load_experiment(name)
    (tmp_path / SETTINGS).write_text(settings_text(experiment), encoding="utf-8")
    assert read_settings(tmp_path / SETTINGS, name) == experiment


def test_licences_are_those_of_the_packages(made: Path) -> None:
    folder = made / "bundle/licences"
    assert "MIT License" in (folder / "agentprm_dagster-LICENSE").read_text(encoding="utf-8")
    assert "Mohit Shridhar" in (folder / "alfworld-LICENSE").read_text(encoding="utf-8")
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert "| textworld |" in page


def test_games_are_listed_by_split(made: Path) -> None:
    games = json.loads((made / "bundle/games.json").read_text(encoding="utf-8"))
    assert {split: len(each) for split, each in games.items()} == {"train": 12, "valid_seen": 12, "valid_unseen": 12}
