"""Requests as files: what is written is read, and what is wrong is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from agentprm_dagster.config import Experiment, TrainingCompute
from agentprm_dagster.config.asked import SettingError
from agentprm_dagster.config.catalog import load_catalog
from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.launch.request import Request, RequestError, read_request


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    (tmp_path / "rollouts").mkdir()
    (tmp_path / "game").touch()
    return Request(
        stage="improved_policy[2]",
        program="improved_policy",
        experiment=Experiment(name="tried"),
        asked=frozenset({"sft", "gates.max_kl"}),
        inputs={"rollouts": tmp_path / "rollouts"},
        tasks=(TaskRef("alfworld", "one", "look", tmp_path / "game"),),
        seed=3,
        training=TrainingCompute(launch="torchrun", processes=2, device="cpu"),
        out=tmp_path / "out",
        resume=tmp_path / "begun",
        save_seconds=1.5,
    )


def written(request: Request, folder: Path, **changed: Any) -> Path:
    path = folder / "request.json"
    path.write_text(json.dumps(json.loads(request.model_dump_json()) | changed), encoding="utf-8")
    return path


def test_what_is_written_is_read(request_: Request, tmp_path: Path) -> None:
    assert read_request(written(request_, tmp_path)) == request_


def test_every_experiment_can_be_sent(request_: Request, tmp_path: Path) -> None:
    for experiment in load_catalog().experiments.values():
        asked = request_.model_copy(update={"experiment": experiment})
        assert read_request(written(asked, tmp_path)).experiment == experiment


def test_a_program_reads_what_the_stage_asked_for(request_: Request) -> None:
    assert request_.settings.gates.max_kl == Experiment(name="tried").gates.max_kl
    with pytest.raises(SettingError, match=r"improved_policy\[2\] reads prm, and asked for gates.max_kl, sft"):
        _ = request_.settings.prm


def test_a_job_is_what_it_asks_for(request_: Request, tmp_path: Path) -> None:
    job = request_.job(SilentMonitor())
    assert (job.seed, job.compute) == (3, request_.training)
    assert job.resume
    assert (job.resume.folder, job.resume.seconds) == (tmp_path / "begun", 1.5)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sed": 1}, "sed: Extra inputs are not permitted"),
        ({"seed": "1"}, "seed: Input should be a valid integer"),
        ({"training": {"processes": 2}}, "training: .*processes: 2 train together only"),
        ({"inputs": {"rollouts": "/no/such/place"}}, "inputs.rollouts: /no/such/place"),
        ({"tasks": [{"environment": "alfworld", "id": "x", "kind": "y", "path": "/none"}]}, "tasks: x: /none"),
    ],
)
def test_what_is_wrong_is_named(request_: Request, tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        read_request(written(request_, tmp_path, **changed))


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"nowhere\.json cannot be read"):
        read_request(tmp_path / "nowhere.json")
    (tmp_path / "odd.json").write_text("{", encoding="utf-8")
    with pytest.raises(RequestError, match="asks for no training:\n  all: Invalid JSON"):
        read_request(tmp_path / "odd.json")
