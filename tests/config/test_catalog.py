"""One experiment that is wrong keeps no other from running, and is named wherever a person looks."""

import keyword
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dagster._core.definitions.utils import DISALLOWED_NAMES

from agentprm_dagster.commands.doctor import _experiments
from agentprm_dagster.config import catalog
from agentprm_dagster.config.catalog import ExperimentError, experiment_files, load_catalog, load_experiment
from agentprm_dagster.config.experiment import RESERVED

WRONG: dict[str, Callable[[Path], object]] = {
    "broken.yaml": lambda path: path.write_text("a: ["),
    "unknown.yaml": lambda path: path.write_text("nonsense: 1"),
    "a name.yaml": lambda path: path.write_text("extends: smoke"),
    "config.yaml": lambda path: path.write_text("extends: smoke"),
    "lambda.yaml": lambda path: path.write_text("extends: smoke"),
    "quickstart.yaml": lambda path: path.write_text("extends: smoke"),
    "above.yaml": lambda path: path.write_text("extends: broken"),
    "latin.yaml": lambda path: path.write_bytes(b"description: \xe9"),
    "deep.yaml": lambda path: path.write_text("[" * 1000),
    "folder.yaml": lambda path: path.mkdir(),
    "nowhere.yaml": lambda path: path.symlink_to("missing"),
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of experiments beside a small one of the package."""
    folder, packaged = tmp_path / "own", tmp_path / "packaged"
    folder.mkdir()
    packaged.mkdir()
    for name in ("smoke", "quickstart"):
        (packaged / f"{name}.yaml").write_text((catalog.experiment_folders()[0] / f"{name}.yaml").read_text())
    monkeypatch.setattr(catalog, "experiment_folders", lambda: [packaged, folder])
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(tmp_path / "missing"))
    (folder / "good.yaml").write_text("extends: smoke")
    return folder


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_left_out_and_named(own: Path, name: str) -> None:
    WRONG[name](own / name)
    found, (missing, *errors) = load_catalog()
    stem = name.removesuffix(".yaml")
    assert {"smoke", "good"} <= found.keys()
    assert stem not in found
    with pytest.raises(ExperimentError, match=re.escape(name)):
        load_experiment(stem)
    assert str(missing).startswith("AGENTPRM_EXPERIMENTS names")
    assert any(name in str(error) for error in errors)
    findings = [finding for finding in _experiments() if not finding.ok]
    assert [finding.found for finding in findings] == [str(error) for error in (missing, *errors)]
    assert all(finding.needed for finding in findings)


def test_a_name_used_twice_extends_nothing(own: Path) -> None:
    (own / "quickstart.yaml").write_text("extends: smoke")
    (own / "more.yaml").write_text("extends: quickstart")
    assert experiment_files()["quickstart"] != own / "quickstart.yaml"
    with pytest.raises(ExperimentError, match="two experiments are called quickstart"):
        load_experiment("more")


def test_names_that_dagster_keeps_are_refused() -> None:
    assert {name for name in DISALLOWED_NAMES if re.fullmatch("[a-z][a-z0-9_]*", name)} <= RESERVED
    assert keyword.kwlist


def test_dagster_loads_the_others_and_its_log_names_the_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(tmp_path))
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "good.yaml").write_text("extends: smoke")
    (tmp_path / "not_chosen.yaml").write_text("a: [")
    monkeypatch.setenv("AGENTPRM_LOAD", "good, broken,nosuch")
    script = "from agentprm_dagster.definitions import defs; print(defs.resolve_job_def('good').name)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout == "good\n"
    assert f"An experiment is left out: {tmp_path / 'broken.yaml'} is not valid YAML" in loaded.stderr
    assert "An experiment is left out: no experiment 'nosuch'; there are: alfworld" in loaded.stderr
    assert "not_chosen.yaml" not in loaded.stderr


def study(folder: Path, text: str, name: str = "tried") -> None:
    (folder / "studies").mkdir(exist_ok=True)
    (folder / "studies" / f"{name}.yaml").write_text(text)


def test_studies_are_laid_over_one_after_the_other(own: Path) -> None:
    study(own, "description: First.\nprm: {epochs: 7, margin: 0.1}\nsft: {epochs: 2}", "first")
    study(own, "description: Second.\nprm: {epochs: 9}", "second")
    (own / "mine.yaml").write_text("extends: smoke\nwith: [first, second]\nsft: {epochs: 5}")
    smoke, mine = load_experiment("smoke"), load_experiment("mine")
    assert (mine.prm.epochs, mine.prm.margin, mine.sft.epochs) == (9, 0.1, 5)
    assert mine.sft.learning_rate == smoke.sft.learning_rate
    assert mine.description == f"{smoke.description} First. Second."
    assert "first" not in experiment_files()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extends: smoke", r"tried\.yaml: extends: a study goes over any experiment: leave it out"),
        ("with: tried", r"tried\.yaml: with: a study goes"),
        ("seed: 1", r"tried\.yaml: seed: a study goes"),
        ("name: tried", r"tried\.yaml: name: "),
        ("- prm", r"tried\.yaml: expected a mapping of settings, got list"),
        ("prm: {epoch: 1}", r"prm\.epoch: no such setting; did you mean epochs\? \(tried\.yaml, line 1\)"),
    ],
)
def test_a_study_that_is_wrong_is_named(own: Path, text: str, words: str) -> None:
    study(own, text)
    (own / "mine.yaml").write_text("extends: smoke\nwith: tried")
    with pytest.raises(ExperimentError, match=words):
        load_experiment("mine")


@pytest.mark.parametrize("named", ["nosuch", "[tried, nosuch]", "[[tried]]", "{tried: 1}", "null", "3"])
def test_studies_that_are_not_there_are_told_with_those_that_are(own: Path, named: str) -> None:
    study(own, "prm: {epochs: 7}")
    (own / "mine.yaml").write_text(f"extends: smoke\nwith: {named}")
    with pytest.raises(ExperimentError, match=r"mine\.yaml: with: expected one of tried, got "):
        load_experiment("mine")
