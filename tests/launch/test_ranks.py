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
    request = {"out": str(folder), "together": processes > 1, "optimizer": "adamw", **asked}
    (folder / "request.json").write_text(json.dumps(request))
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--standalone"]
    command = [sys.executable, *(launcher if processes > 1 else []), str(PROGRAM), str(folder / "request.json")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.parametrize("what", ["sft", "prm", "policy improvement"])
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_processes_train_what_one_does(
    taught_folder: Path, tables: Path, tmp_path: Path, what: str, strategy: str
) -> None:
    asked: dict[str, Any] = {"what": what, "policy": str(taught_folder), "rollouts": str(tables)}
    alone = run(tmp_path / "alone", 1, compute={"micro_batch_tokens": 700}, **asked)
    assert alone.returncode == 0, alone.stderr
    both = run(tmp_path / "both", 2, compute={"micro_batch_tokens": 500, "strategy": strategy}, **asked)
    assert both.returncode == 0, both.stderr[-3000:]
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("alone", "both"))
    begun = load_file(taught_folder / "model.safetensors")
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=2e-3, atol=2e-4, msg=name)
    assert any(not torch.allclose(begun[name], weight, atol=1e-5) for name, weight in one.items() if name in begun)
    told = [json.loads((tmp_path / name / "numbers.json").read_text()) for name in ("alone", "both")]
    assert told[0] == pytest.approx(told[1], rel=2e-3, abs=1e-4)
