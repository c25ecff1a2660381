"""What a stage is given of its experiment's settings is what is recorded, for every asset there is."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from agentprm_dagster.commands.run import failures, run_iteration
from agentprm_dagster.config import Experiment
from agentprm_dagster.config.asked import AskedSettings, SettingError, picked
from agentprm_dagster.episodes.stage import Gate, StageReport
from agentprm_dagster.iterations import add_iterations
from agentprm_dagster.provenance.code import asset_modules
from agentprm_dagster.provenance.manifest import GAMES_DIGEST
from agentprm_dagster.resources.artifacts import ArtifactsResource
from toy import TOY, toy_definitions

EXPERIMENT = Experiment(name="tried")

OTHERS = {
    "toy": "",
    "shaped": "targets: {kind: shaped}\nevaluation: {lookahead: {worlds: learned}}\n",
    "watched": "improvement: {panel: {every: 1, committee: 2}}\n",
    "inverse": "improvement: {reward: inverse_prm}\n",
    "milestones": "targets: {kind: milestones}\n",
    "td_lambda": "targets: {kind: td_lambda}\n",
}
"""The toy with settings that between them use every asset but the one that asks a server (`test_react`)."""

UNRECORDED = {
    "origin", "prm.reply_weight", "model.name", "iterations", "improvement.reward", "demonstrations.episodes",
    "rollouts.games",
}  # fmt: skip
"""Read and not recorded: the number of processes, what is announced, and what is recorded as an input or as games."""


def asked(*names: str) -> AskedSettings:
    return AskedSettings("prm[1]", frozenset(names), EXPERIMENT)


def test_what_was_asked_for_is_there() -> None:
    settings = asked("prm", "gates.max_kl", "improvement.panel.committee")
    assert settings.prm is EXPERIMENT.prm
    assert settings.gates.max_kl == EXPERIMENT.gates.max_kl
    assert settings.improvement.panel.committee == 0


@pytest.mark.parametrize("name", ["sft", "seed", "gates.min_wins", "improvement.beta", "improvement.panel.every"])
def test_what_was_not_asked_for_is_refused(name: str) -> None:
    settings: Any = asked("prm", "gates.max_kl", "improvement.panel.committee")
    with pytest.raises(SettingError, match=rf"prm\[1\] reads {name}, and asked for gates.max_kl, improvement.panel"):
        for part in name.split("."):
            settings = getattr(settings, part)


def test_what_is_recorded_is_what_was_asked_for() -> None:
    recorded = picked(EXPERIMENT.model_dump(mode="json"), ("sft", "gates.max_kl"))
    assert recorded == {"sft": EXPERIMENT.sft.model_dump(mode="json"), "gates.max_kl": EXPERIMENT.gates.max_kl}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, set[str]]]:
    """Every setting that was handed out, by the stage that read it."""
    places: dict[str, set[str]] = defaultdict(set)
    given = AskedSettings.__getattr__

    def noted(self: AskedSettings, name: str) -> Any:
        value = given(self, name)
        if not isinstance(value, AskedSettings):
            places[self.asked_by].add(f"{self.place}{name}")
        return value

    monkeypatch.setattr(AskedSettings, "__getattr__", noted)
    yield places


def report(*gates: str) -> StageReport:
    return StageReport(
        {"tokens": 0.0, "held_out_loss": 0.5}, tuple(Gate(name, True, "as expected") for name in gates), "Done."
    )


@pytest.fixture
def trainings(toy: dg.Definitions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainings that the toy has not."""
    fakes: dict[str, dict[str, Any]] = {
        "world_model": {"train_world_model": lambda *_, **__: report("better_than_constant")},
        "inverse_prm": {"train_inverse_prm": lambda *_, **__: None, "score_decisions": lambda *_, **__: None},
        "hackable": {"with_hackability_of_saved": lambda told, *_, **__: told},
        "reference_value": {
            "train_reference_value": lambda *_, **__: report("better_than_constant"),
            "reference_advantages": lambda path, episodes, targets, wording, **_: targets["q"] * 0,
        },
    }
    for name, functions in fakes.items():
        module = ModuleType(f"agentprm_dagster.training.{name}")
        vars(module).update(functions)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    told = report("tells_expert_from_learners", "not_hackable")
    monkeypatch.setattr("agentprm_dagster.reports.inverse_report.inverse_report", lambda *_, **__: told)
    monkeypatch.setattr(sys.modules["agentprm_dagster.training.process_reward_model"], "train_prm", train_prm)
    panel = SimpleNamespace(Watched=lambda *_: None)
    monkeypatch.setitem(sys.modules, "agentprm_dagster.improvement.panel", panel)


def train_prm(policy: Path, episodes: object, targets: object, settings: object, *rest: object, **how: object) -> Any:
    return report("better_than_constant", "orders_actions", "not_hackable")


def test_every_stage_records_what_it_reads_and_nothing_else(
    trainings: None, read: dict[str, set[str]], tmp_path: Path
) -> None:
    made: set[str] = set()
    for seed, (name, settings) in enumerate(OTHERS.items()):  # with one seed they would adopt from one another
        (tmp_path / "experiments" / f"{name}.yaml").write_text(f"{TOY}seed: {seed}\n{settings}", encoding="utf-8")
        instance = dg.DagsterInstance.ephemeral()
        add_iterations(instance, "toy", 1)
        read.clear()
        result = run_iteration(toy_definitions(name), instance, name, 1)
        assert result.success, list(failures(result))
        for artifact in ArtifactsResource().store().artifacts(name):
            version, config = artifact.version, artifact.manifest.config
            stage = f"{version.asset}[{version.iteration}]" if version.iteration else version.asset
            recorded = config.keys() - {GAMES_DIGEST}
            assert recorded <= read[stage], stage
            assert read[stage] - recorded <= UNRECORDED, stage
            made.add(version.asset)
    assert made == set(asset_modules()) - {"behaviour_policy", "react_report"}
