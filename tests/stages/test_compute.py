"""What a stage asks of its run's compute stands in its manifest, and in no recipe."""

import json
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from agentprm_dagster.resources.artifacts import ArtifactsResource

from agentprm_dagster.commands.run import failures, run_iteration
from agentprm_dagster.config import Compute
from agentprm_dagster.config.catalog import load_compute
from agentprm_dagster.engine.kinds import KINDS
from agentprm_dagster.episodes.engine_difference import EngineDifference
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.iterations import add_iterations
from agentprm_dagster.launch.request import read_request
from agentprm_dagster.launch.told import Trained
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.code import source_digest
from agentprm_dagster.provenance.manifest import AssetPartition
from agentprm_dagster.reports.targets_report import targets_report
from agentprm_dagster.stages.compute import UsedCompute
from toy import ToyInference, toy_definitions

PLAYS = {"rollouts", "eval_report"}
"""The stages that ask for the engine."""

MINE = "engine: {kind: transformers, device: cpu}\ntraining: {device: cpu}\n"


def test_what_is_not_asked_for_is_not_told() -> None:
    used = UsedCompute(load_compute("gpu"))
    assert used.environment([]) == {}
    assert used.modules == ()
    assert used.training.device == "cuda"
    assert used.environment([]) == {
        "compute": "gpu",
        "training.device": "cuda",
        "training.micro_batch_tokens": "16384",
        "training.activation_checkpointing": "true",
        "training.launch": "process",
        "training.processes": "1",
        "training.cpus": "1",
        "training.strategy": "ddp",
    }


def checkpoint(folder: Path, **config: str) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_the_engine_is_told_with_its_settings_its_code_and_the_types_of_checkpoints(tmp_path: Path) -> None:
    policy, prm = checkpoint(tmp_path / "policy", dtype="bfloat16"), checkpoint(tmp_path / "prm")
    used = UsedCompute(Compute.model_validate({"name": "mine", "engine": {"kind": "transformers", "device": "cpu"}}))
    assert used.engine.kind == "transformers"
    assert used.modules == (KINDS["transformers"],)
    assert used.environment([tmp_path, policy, prm]) == {
        "compute": "mine",
        "engine.kind": "transformers",
        "engine.device": "cpu",
        "engine.dtype": "bfloat16, float32",
        "engine.batch": "16",
        "engine.code": source_digest(KINDS["transformers"]),
    }
    usual = UsedCompute(load_compute("laptop"))
    assert usual.engine.kind == "embedded"
    assert usual.environment([policy]) == {"compute": "laptop", "engine.kind": "embedded"}


def test_an_engine_tells_versions_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{KINDS['transformers']}.versions", lambda settings: {"gpu": f"a {settings.device}"})
    used = UsedCompute(Compute.model_validate({"name": "mine", "engine": {"kind": "transformers", "device": "cuda:1"}}))
    assert used.engine
    assert used.environment([])["engine.gpu"] == "a cuda:1"


def test_what_one_has_begun_no_other_goes_on_with() -> None:
    def folder(**settings: object) -> str:
        return UsedCompute(Compute.model_validate({"name": "mine", **settings})).folder

    transformers, vllm = {"kind": "transformers"}, {"kind": "vllm"}
    folders = [
        folder(),
        folder(engine=transformers),
        folder(engine=vllm),
        folder(engine=vllm, training={"device": "cuda:1"}),
        folder(engine=vllm, training={"launch": "torchrun"}),
        folder(engine=vllm, training={"launch": "torchrun", "processes": 2}),
        folder(engine=vllm, training={"launch": "torchrun", "processes": 2, "strategy": "fsdp2"}),
    ]
    assert len({*folders}) == len(folders)
    assert not [name for name in folders if "/" in name or ":" in name]
    assert folder(engine={**vllm, "timeout": 1.0}, training={"micro_batch_tokens": 9}) == folder(engine=vllm)


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    instance = dg.DagsterInstance.ephemeral()
    add_iterations(instance, "toy", 1)
    return instance


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(MINE, encoding="utf-8")
    return tmp_path / "mine.yaml"


def made(definitions: dg.Definitions, instance: dg.DagsterInstance) -> dict[str, Artifact]:
    result = run_iteration(definitions, instance, "toy", 1)
    assert result.success, list(failures(result))
    return {artifact.version.asset: artifact for artifact in ArtifactsResource().store().artifacts("toy")}


def test_a_run_records_the_compute_that_it_began_with(
    toy: dg.Definitions, instance: dg.DagsterInstance, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(targets: pd.DataFrame) -> object:
        file.write_text("engine: {kind: vllm}\n", encoding="utf-8")
        return targets_report(targets)

    monkeypatch.setattr("agentprm_dagster.reports.targets_report.targets_report", meanwhile)
    manifests = {name: each.manifest for name, each in made(toy_definitions(compute=str(file)), instance).items()}
    kinds = {name: each.environment.get("engine.kind") for name, each in manifests.items()}
    assert {name for name, kind in kinds.items() if kind} == PLAYS
    assert {kinds[name] for name in PLAYS} == {"transformers"}
    words = {name: each.reproducible for name, each in manifests.items()}
    assert words == {name: "statistical" if name in PLAYS else "bitwise" for name in words}
    assert not [name for name, each in manifests.items() if "engine" in each.config]


def test_another_compute_makes_nothing_anew(toy: dg.Definitions, instance: dg.DagsterInstance, file: Path) -> None:
    usual = made(toy, instance)
    again = made(toy_definitions(compute=str(file)), instance)
    assert {name: each.digest for name, each in again.items()} == {name: each.digest for name, each in usual.items()}
    assert again["rollouts"].manifest.environment["engine.kind"] == "embedded"


def test_what_an_engine_got_wrong_is_made_again_by_another_and_not_by_the_same(
    toy: dg.Definitions, instance: dg.DagsterInstance, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rightly = ToyInference._play
    with monkeypatch.context() as patch:
        wrong = EngineDifference(nats=1.0, tolerance=0.02)
        patch.setattr(ToyInference, "_play", lambda *played: replace(rightly(*played), difference=wrong))
        for _ in range(2):
            stopped = run_iteration(toy_definitions(compute=str(file)), instance, "toy", 1)
            assert "rollouts did not pass its gate engine_agrees" in "".join(failures(stopped))
    store, rollouts = ArtifactsResource().store(), AssetPartition("toy", "rollouts", 1)
    assert len([*store.versions(rollouts)]) == 1
    again = run_iteration(toy, instance, "toy", 1)
    assert again.success, list(failures(again))
    assert store.current("toy", "rollouts", 1).manifest.environment["engine.kind"] == "embedded"


def test_a_gpu_that_computed_is_named(
    toy: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentprm_dagster.resources.stages.gpus_used", lambda: nullcontext(["NVIDIA H200"]))
    policy = made(toy, instance)["initial_policy"].manifest
    assert policy.environment["gpu"] == "NVIDIA H200"
    assert policy.reproducible == "statistical"


def test_the_gpus_of_processes_that_train_are_told(
    toy: dg.Definitions, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def trained(path: Path, processes: int, monitor: Monitor) -> Trained:
        request = read_request(path)
        asked.append((request.stage, processes))
        program = import_module(f"agentprm_dagster.programs.{request.program}")
        return Trained(program.train(request, request.job(monitor)), ["one", "two"])

    monkeypatch.setattr("agentprm_dagster.resources.stages.train_together", trained)
    (tmp_path / "two.yaml").write_text("training: {launch: torchrun, processes: 2}\n", encoding="utf-8")
    manifests = {
        name: each.manifest
        for name, each in made(toy_definitions(compute=str(tmp_path / "two.yaml")), instance).items()
    }
    assert asked == [("initial_policy", 2), ("prm[1]", 2), ("improved_policy[1]", 2)]
    told = {name for name, each in manifests.items() if each.environment.get("gpu") == "one, two"}
    assert told == {"initial_policy", "prm", "improved_policy"}
    assert {manifests[name].reproducible for name in told} == {"statistical"}


def test_what_does_not_go_together_stops_the_first_stage(
    toy: dg.Definitions, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (tmp_path / "spread.yaml").write_text("training: {launch: torchrun, strategy: fsdp2}\n", encoding="utf-8")
    stopped = run_iteration(toy_definitions(compute=str(tmp_path / "spread.yaml")), instance, "toy", 1)
    assert "compute spread: training.strategy: fsdp2 does not go with this experiment: Muon" in "".join(
        failures(stopped)
    )
    assert not [*ArtifactsResource().store().artifacts("toy")]
