"""Processes that torchrun starts: what they make, how they fail, and that none is left behind."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.launch.torchrun import TrainingProcessError, train_together, write_request
from agentprm_dagster.training.run import run
from asked_trainings import Heard, prm_request, write_inputs
from pretended import eventually

TWO: dict[str, Any] = {"device": "cpu", "launch": "torchrun", "processes": 2}


@pytest.fixture(scope="module")
def inputs(taught_folder: Path, rollouts: list[Episode], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_inputs(taught_folder, rollouts, tmp_path_factory.mktemp("inputs"))


def steps(heard: Heard) -> list[object]:
    return [said for said in heard.said if len(said) == 3]  # type: ignore[arg-type]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "made" / "model.safetensors")


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_make_what_one_does(inputs: dict[str, Path], tmp_path: Path, strategy: str) -> None:
    alone = prm_request(inputs, tmp_path / "alone", device="cpu")
    mine = Heard()
    report = run(alone, mine).report
    heard = Heard()
    path = write_request(prm_request(inputs, tmp_path / "both", **TWO, strategy=strategy))
    both = train_together(path, 2, heard)
    one, two = weights(tmp_path / "alone"), weights(tmp_path / "both")
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=2e-3, atol=2e-4, msg=name)
    assert both.report.metrics == pytest.approx(report.metrics, rel=2e-3, abs=1e-4)
    assert [gate.name for gate in both.report.gates] == [gate.name for gate in report.gates]
    assert both.gpus == []
    assert steps(heard) == steps(mine)


def test_what_goes_wrong_in_one_is_told(inputs: dict[str, Path], tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "targets.parquet").write_bytes(b"no table")
    path = write_request(prm_request({**inputs, "mc_value_targets": torn}, tmp_path / "failed", **TWO))
    with pytest.raises(TrainingProcessError) as caught:
        train_together(path, 2, SilentMonitor())
    words = str(caught.value)
    assert words.startswith("of 2 processes that train together one failed, process ")
    assert "ArrowInvalid: " in words
    assert "programs/prm.py" in words
    assert str(path) in words


def test_a_request_by_hand(inputs: dict[str, Path], tmp_path: Path) -> None:
    def by_hand(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "agentprm_dagster.training.run", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    request = prm_request(inputs, tmp_path / "asked", epochs=0.1, **TWO)
    path = write_request(request)
    ran = by_hand(path, tmp_path / "tried" / "made")
    assert ran.returncode == 0, ran.stderr
    assert weights(tmp_path / "tried")
    assert not any(request.out.iterdir())
    assert by_hand().returncode == 2
    path.write_text(request.model_copy(update={"program": "prn"}).model_dump_json(), encoding="utf-8")
    ran = by_hand(path)
    assert ran.returncode == 2
    assert "program: expected one of improved_policy, initial_policy" in ran.stderr
    assert "Traceback" not in ran.stderr


def processes_of(path: Path) -> list[psutil.Process]:
    """The guard, torchrun and all that train by this request, but not who has asked."""
    found = [each for each in psutil.process_iter(["cmdline"]) if str(path) in (each.info["cmdline"] or [])]
    return [each for each in found if "-c" not in each.info["cmdline"]]


def test_none_outlives_torchrun(inputs: dict[str, Path], tmp_path: Path) -> None:
    path = write_request(prm_request(inputs, tmp_path / "asked", epochs=50, **TWO))
    with ThreadPoolExecutor() as pool:
        training = pool.submit(train_together, path, 2, SilentMonitor())
        assert eventually((path.parent / "snapshot.safetensors").exists)
        running = processes_of(path)
        by_command = {each: " ".join(each.cmdline()) for each in running}
        (torchrun,) = (each for each, said in by_command.items() if "distributed.run" in said and "guard" not in said)
        torchrun.kill()
        with pytest.raises(TrainingProcessError, match="of 2 processes that train together one failed"):
            training.result(60)
    _, alive = psutil.wait_procs(running, timeout=60)
    assert alive == []


STARTER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.launch.torchrun import train_together
train_together(Path(sys.argv[1]), 2, SilentMonitor())
"""


def test_none_outlives_who_started_them_and_what_was_saved_is_gone_on_from(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    calm = write_request(prm_request(inputs, tmp_path / "calm", epochs=6, **TWO))
    train_together(calm, 2, SilentMonitor())
    request = prm_request(inputs, tmp_path / "killed", epochs=6, **TWO)
    path = write_request(request)
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(path)])
    assert eventually((request.resume / "snapshot.safetensors").exists)
    running = processes_of(path)
    assert len(running) == 4, "a guard, torchrun, and two that train"
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    _, alive = psutil.wait_procs(running, timeout=60)
    assert alive == []
    heard = Heard()
    train_together(write_request(request), 2, heard)
    assert heard.said[0][0] > 1, "it goes on"  # type: ignore[index]
    one, two = weights(tmp_path / "calm"), weights(tmp_path / "killed")
    assert all(torch.equal(one[name], two[name]) for name in one)
