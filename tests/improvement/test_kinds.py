"""Kinds of policy improvement: what each is given, and that a new one is a file and a line."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import imitation
from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.config import Dialogue, Experiment, Gates, Sft
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Resume
from agentprm_dagster.episodes.tables import write_episodes
from agentprm_dagster.improvement import dpo, kinds
from agentprm_dagster.improvement.inputs import Inputs
from agentprm_dagster.launch.job import Job

ADDED = """
from agentprm_dagster.improvement.kinds import KINDS
KINDS["imitation"] = "imitation"
from sys import argv
from pathlib import Path
from agentprm_dagster.config.catalog import read_experiment
experiment = read_experiment(Path(argv[1]))
print(experiment.improvement.kind, experiment.improvement.epochs, experiment.improvement.reward)
"""
"""The line, and what reads an experiment."""


@pytest.fixture
def inputs(taught_folder: Path, rollouts: list[Episode], tmp_path: Path) -> Inputs:
    for name in ("rollouts", "targets"):
        (tmp_path / name).mkdir()
    write_episodes(rollouts, tmp_path / "rollouts")
    targets = mc_value_targets(rollouts, gamma=0.9, held_out_games=0.3, seed=0)
    targets.to_parquet(tmp_path / "targets" / "targets.parquet")
    read = {"mc_value_targets": tmp_path / "targets"}
    return Inputs(taught_folder, tmp_path / "rollouts", read, {}, KIND)


def test_games_are_parted_as_the_targets_hold_them_out(inputs: Inputs) -> None:
    known, held_out = inputs.of_games(held_out=False), inputs.of_games(held_out=True)
    assert {each.game for each in held_out} == set(inputs.targets.loc[inputs.targets["held_out"], "game"])
    assert sorted(each.episode_id for each in [*known, *held_out]) == sorted(e.episode_id for e in inputs.episodes)
    assert known
    assert held_out


def test_a_kind_reads_what_its_settings_use() -> None:
    plain, watching = dpo.Settings(), dpo.Settings(panel=dpo.Settings().panel.model_copy(update={"every": 5}))
    assert plain.reads == ("prm",)
    assert watching.reads == ("prm", "mc_value_targets")
    assert set(watching.sections) - set(plain.sections) == {"rollouts", "targets", "prm.batch_tokens"}


def test_a_new_kind_improves_a_policy(inputs: Inputs, tmp_path: Path) -> None:
    settings = SimpleNamespace(
        improvement=imitation.Settings(), dialogue=Dialogue(), gates=Gates(), sft=Sft(learning_rate=1e-2)
    )
    (out := tmp_path / "out").mkdir()
    report = imitation.improve(inputs, settings, out, Job(seed=0, resume=Resume(tmp_path / "r")))
    assert {gate.name: gate.passed for gate in report.gates} == dict.fromkeys(
        ("policy_finite", "kl_budget", "pairs_to_learn_from"), True
    )
    before, after = checkpoints.load_policy(inputs.policy), checkpoints.load_policy(out)
    assert not all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))


def test_a_new_kind_is_a_file_and_a_line(tmp_path: Path) -> None:
    def read(text: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "tried.yaml"
        path.write_text(text, encoding="utf-8")
        command = [sys.executable, "-c", ADDED, str(path)]
        return subprocess.run(command, cwd=Path(imitation.__file__).parent, capture_output=True, text=True, check=False)

    assert read("improvement: {kind: imitation, epochs: 2}").stdout.split() == ["imitation", "2.0", "None"]
    known = ", ".join([*kinds.KINDS, "imitation"])
    assert f"expected one of {known}, got 'ppo'" in read("improvement: {kind: ppo}").stderr
    assert (
        "improvement.epoch: no such setting; did you mean epochs?"
        in read("improvement: {kind: imitation, epoch: 2}").stderr
    )


@pytest.mark.parametrize("name", kinds.KINDS)
def test_every_kind_names_settings_that_are_there(name: str) -> None:
    settings = kinds.improvement_kind(name).Settings()
    values = Experiment(name="tried").model_dump()
    for section in settings.sections:
        part = values
        for key in section.split("."):
            part = part[key]
    assert settings.kind == name
