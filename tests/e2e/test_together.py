"""The real stages of `smoke`, each trained by two processes, against the same trained by one."""

from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest
import torch
from agentprm_dagster.resources import stages
from agentprm_dagster.resources.artifacts import ArtifactsResource
from safetensors.torch import load_file

from agentprm_dagster.assembly import build_definitions, resources
from agentprm_dagster.commands.run import failures, run_iteration
from agentprm_dagster.config.catalog import load_experiment
from agentprm_dagster.episodes.stage import Monitor, SilentMonitor
from agentprm_dagster.iterations import add_iterations
from agentprm_dagster.launch.request import read_request
from agentprm_dagster.launch.told import Trained
from agentprm_dagster.launch.torchrun import train_together
from agentprm_dagster.training.run import run

TRAINED = ("initial_policy", "prm", "improved_policy")
TOGETHER = "training: {device: cpu, launch: torchrun, processes: 2}\n"


def test_two_processes_make_what_one_does(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone: dict[str, Mapping[str, torch.Tensor]] = {}

    def both(path: Path, processes: int, monitor: Monitor) -> Trained:
        """What is trained together, and beside it the same in this process."""
        trained = train_together(path, processes, monitor)
        request, folder = read_request(path), tmp_path / path.parent.parent.name
        for each in ("made", "begun"):
            (folder / each).mkdir(parents=True)
        run(request.model_copy(update={"out": folder / "made", "resume": folder / "begun"}), SilentMonitor())
        alone[request.program] = load_file(folder / "made" / "model.safetensors")
        return trained

    monkeypatch.setattr(stages, "train_together", both)
    (tmp_path / "two.yaml").write_text(TOGETHER, encoding="utf-8")
    bound = resources(str(tmp_path / "two.yaml"))
    definitions = build_definitions({"smoke": load_experiment("smoke")}, bound)
    instance = dg.DagsterInstance.ephemeral()
    add_iterations(instance, "smoke", 1)
    result = run_iteration(definitions, instance, "smoke", 1)
    assert result.success, list(failures(result))
    made = {artifact.version.asset: artifact for artifact in ArtifactsResource().store().artifacts("smoke")}
    assert alone.keys() == {*TRAINED}
    for name in TRAINED:
        manifest, together = made[name].manifest, load_file(made[name].path / "model.safetensors")
        assert not manifest.failed
        assert manifest.environment["training.processes"] == "2"
        assert manifest.metrics["tokens"]
        for weight, value in alone[name].items():
            torch.testing.assert_close(together[weight], value, rtol=2e-3, atol=2e-4, msg=f"{name} {weight}")
