"""One iteration of the toy, its bundle, and the home of a stranger who checks it."""

import shutil
import sys
from pathlib import Path

import dagster as dg
import pytest

from agentprm_dagster.bundles.export import export
from agentprm_dagster.commands.run import failures, run_iteration
from agentprm_dagster.config.catalog import load_experiment
from agentprm_dagster.iterations import add_iterations
from agentprm_dagster.resources.artifacts import ArtifactsResource
from toy import toy_definitions, toy_trainers, write_toy


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the home in which an iteration of the toy was run, its experiments, and its bundle."""
    folder = tmp_path_factory.mktemp("made")
    write_toy(folder / "experiments")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTPRM_HOME", str(folder / "home"))
        patch.setenv("AGENTPRM_EXPERIMENTS", str(folder / "experiments"))
        for name, module in toy_trainers().items():
            patch.setitem(sys.modules, name, module)
        instance = dg.DagsterInstance.ephemeral()
        add_iterations(instance, "toy", 1)
        result = run_iteration(toy_definitions(), instance, "toy", 1)
        assert result.success, list(failures(result))
        export(ArtifactsResource().store(), load_experiment("toy"), 1, None, folder / "bundle")
    return folder


@pytest.fixture(scope="session")
def strangers_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which nothing was made; games are made in it once."""
    return tmp_path_factory.mktemp("stranger")


@pytest.fixture
def bundle(made: Path, strangers_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the bundle, with a stranger."""
    monkeypatch.setenv("AGENTPRM_HOME", str(strangers_home))
    return Path(shutil.copytree(made / "bundle", tmp_path / "bundle"))
