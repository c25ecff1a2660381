"""Two processes that train together (gloo) against one that reads the same batches in pieces."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.tables import write_episodes

PROGRAM = Path(__file__).parent / "together.py"


@pytest.fixture(scope="module")
def tables(rollouts: list[Episode], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    write_episodes(rollouts, folder)
    return folder


def run(folder: Path, processes: int, **asked: Any) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    request = {"optimizer": "adamw", **asked, "out": str(folder), "together": processes > 1}
    (folder / "request.json").write_text(json.dumps(request))
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--standalone"]
    command = [sys.executable, *(launcher if processes > 1 else []), str(PROGRAM), str(folder / "request.json")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.parametrize(
    "what",
    [
        "prm",
        pytest.param("sft", marks=pytest.mark.slow),
        pytest.param("policy improvement", marks=pytest.mark.slow),
        pytest.param("outcome_dpo", marks=pytest.mark.slow),
        pytest.param("grpo", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_processes_train_what_one_does(
    taught_folder: Path, tables: Path, tmp_path: Path, what: str, strategy: str
) -> None:
    asked: dict[str, Any] = {"what": what, "policy": str(taught_folder), "rollouts": str(tables)}
    alone = run(tmp_path / "alone", 1, compute={"micro_batch_tokens": 700}, **asked)
    assert alone.returncode == 0, alone.stderr
    both = run(
        tmp_path / "both", 2, compute={"micro_batch_tokens": 500, "strategy": strategy, "launch": "torchrun"}, **asked
    )
    assert both.returncode == 0, both.stderr[-3000:]
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("alone", "both"))
    begun = load_file(taught_folder / "model.safetensors")
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=2e-3, atol=2e-4, msg=name)
    assert any(not torch.allclose(begun[name], weight, atol=1e-5) for name, weight in one.items() if name in begun)
    told = [json.loads((tmp_path / name / "numbers.json").read_text()) for name in ("alone", "both")]
    # Sums over whole episodes, and how many answers are clipped, show the least difference of the weights.
    clipped = [numbers.pop("clipped", 0.0) for numbers in told]
    assert clipped[0] == pytest.approx(clipped[1], abs=0.01)
    relative, absolute = (5e-2, 3e-3) if what in ("outcome_dpo", "grpo") else (2e-3, 1e-4)
    assert told[0] == pytest.approx(told[1], rel=relative, abs=absolute)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_what_was_killed_goes_on_from_its_last_step(
    taught_folder: Path, tables: Path, tmp_path: Path, strategy: str
) -> None:
    asked: dict[str, Any] = {"what": "prm", "policy": str(taught_folder), "rollouts": str(tables)}
    how: dict[str, Any] = {
        "compute": {"strategy": strategy, "launch": "torchrun"},
        "resume": str(tmp_path / "saved"),
        **asked,
    }
    calm = run(tmp_path / "calm", 2, **{**how, "resume": None})
    assert calm.returncode == 0, calm.stderr[-3000:]
    assert run(tmp_path / "killed", 2, dies_at=3, **how).returncode
    again = run(tmp_path / "again", 2, **how)
    assert again.returncode == 0, again.stderr[-3000:]
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("calm", "again"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    told = [json.loads((tmp_path / name / "numbers.json").read_text()) for name in ("calm", "again")]
    assert told[0] == told[1]


def test_muon_cannot_be_spread(taught_folder: Path, tables: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"what": "sft", "policy": str(taught_folder), "rollouts": str(tables)}
    ran = run(
        tmp_path / "muon", 2, compute={"strategy": "fsdp2", "launch": "torchrun"}, **{**asked, "optimizer": "muon"}
    )
    assert ran.returncode
    assert "fsdp2 needs optimizer: adamw" in ran.stderr
