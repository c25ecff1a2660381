"""A PRM trained by two processes of a real Ray cluster: as one process trains it, also when a node is lost."""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from agentprm_dagster.cluster.connection import ClusterError
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.launch.on_ray.training import train_on_ray
from agentprm_dagster.launch.torchrun import write_request
from agentprm_dagster.training.run import run
from asked_trainings import Heard, prm_request, write_inputs
from clusters import Cluster, cluster

pytestmark = pytest.mark.ray

TWO: dict[str, Any] = {"device": "cpu", "launch": "ray", "processes": 2}


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


@pytest.fixture(scope="module")
def inputs(taught_folder: Path, rollouts: list[Episode], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_inputs(taught_folder, rollouts, tmp_path_factory.mktemp("inputs"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "made" / "model.safetensors")


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_nodes_train_what_one_process_does(
    two_nodes: Cluster, inputs: dict[str, Path], tmp_path: Path, strategy: str
) -> None:
    heard = Heard()
    request = prm_request(inputs, tmp_path / "both", **TWO, strategy=strategy)
    both = train_on_ray(write_request(request), heard)
    alone = run(prm_request(inputs, tmp_path / "alone"), SilentMonitor())
    one, two = weights(tmp_path / "alone"), weights(tmp_path / "both")
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=2e-3, atol=2e-4, msg=name)
    assert both.report.metrics == pytest.approx(alone.report.metrics, rel=2e-3, abs=1e-4)
    assert heard.said


def test_what_goes_wrong_in_one_is_told(two_nodes: Cluster, inputs: dict[str, Path], tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "targets.parquet").write_bytes(b"no table")
    path = write_request(prm_request({**inputs, "mc_value_targets": torn}, tmp_path / "failed", **TWO))
    with pytest.raises(ClusterError) as caught:
        train_on_ray(path, SilentMonitor())
    words = r"^of 2 processes that train together one failed, process [01] on the node 127\.0\.0\.[23]: "
    assert re.match(words, str(caught.value))
    assert "ArrowInvalid: " in str(caught.value)
    assert "programs/prm.py" in str(caught.value)


class Once(Heard):
    """Does something when what was saved has come home."""

    def __init__(self, saved: Path, what: Callable[[], None]) -> None:
        super().__init__()
        self._saved, self._what, self.done = saved, what, False

    def progress(self, done: int, total: int, what: str) -> None:
        super().progress(done, total, what)
        if self._saved.exists() and not self.done:
            self.done = True
            self._what()


def test_a_node_that_is_killed_changes_nothing(inputs: dict[str, Path], tmp_path: Path) -> None:
    with cluster() as started:

        def replace_one() -> None:
            started.nodes[1].kill()
            started.start()

        train_on_ray(write_request(prm_request(inputs, tmp_path / "calm", epochs=60, **TWO)), SilentMonitor())
        request = prm_request(inputs, tmp_path / "killed", epochs=60, **TWO)
        killing = Once(request.resume / "snapshot.safetensors", replace_one)
        train_on_ray(write_request(request), killing)
    assert killing.done
    steps = [said[0] for said in killing.said if len(said) == 3]  # type: ignore[arg-type,index]
    (again,) = (after for before, after in pairwise(steps) if after <= before)
    assert again > 1, "it went on from what it had saved"
    one, two = weights(tmp_path / "calm"), weights(tmp_path / "killed")
    assert all(torch.equal(one[name], two[name]) for name in one)
