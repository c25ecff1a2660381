"""The check of a GPU, on a CPU: it needs few packages, measures on whatever fails, and counts operations rightly."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from torch.utils.flop_counter import FlopCounterMode

from agentprm_dagster.engine.embedded.token_tree import TokenTree
from benchmarks.gpu_check import operations, shapes, training, trainings
from benchmarks.gpu_check.card import Card
from benchmarks.gpu_check.check import Check, Measurement, Numbers
from benchmarks.gpu_check.shapes import SIZES
from benchmarks.limits import token_flops

ROOT = Path(__file__).parents[2]
CPU = Card.of("cpu", None)


def needed(*names: str) -> set[str]:
    """Distributions with all that they need, as far as they are installed."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = re.sub(r"[-_.]+", "-", left.pop()).lower()
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        if name not in found:
            found.add(name)
            asked = map(Requirement, requires)
            left += [each.name for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def few_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds torch, transformers, pydantic, what they need, and nothing else."""
    folder = tmp_path_factory.mktemp("packages")
    for name in needed("torch", "transformers", "pydantic"):
        installed = distribution(name)
        for top in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
            link = folder / top
            if not link.exists():
                link.symlink_to(Path(str(installed.locate_file(top))))
    return folder


def test_every_part_is_measured_with_few_packages(few_packages: Path, tmp_path: Path) -> None:
    assert not (few_packages / "pandas").exists()
    command = [sys.executable, "-S", "-m", "benchmarks.gpu_check", "--device", "cpu", "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(few_packages), "AGENTPRM_PRODUCTS": "float32"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    rows = json.loads((tmp_path / "gpu_check.json").read_text(encoding="utf-8"))["rows"]
    assert {row["part"] for row in rows} == set("ABCDEFG")
    assert {row["result"] for row in rows} == {"ok"}, ran.stdout


def results(check: Check) -> list[tuple[str, str]]:
    return [(row["name"], row["result"]) for row in check.rows]


def test_what_lacks_memory_is_tried_smaller(tmp_path: Path) -> None:
    def measure(size: int) -> Numbers:
        if size > 20:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return {"ok": True}

    check = Check(CPU, 60, tmp_path / "found.json", {})
    check.run(Measurement("E", "{size} conversations", measure, 64))
    sizes = [("64 conversations", "out of memory"), ("32 conversations", "out of memory"), ("16 conversations", "ok")]
    assert results(check) == sizes
    check.run(Measurement("E", "{size} tokens", measure, 64, least=50))
    assert results(check)[3:] == [("64 tokens", "out of memory")]
    assert not check.failed


def test_a_failure_stops_nothing_and_is_told(tmp_path: Path) -> None:
    def fails(_: int) -> Numbers:
        raise RuntimeError("Expected all tensors to be on the same device")

    check = Check(CPU, 60, tmp_path / "found.json", {})
    for name, measure in (("one", fails), ("two", lambda _: {"ok": False}), ("three", lambda _: {"number": 1.0})):
        check.run(Measurement("A", name, measure))
    assert [name for name, _ in results(check)] == ["one", "two", "three"]
    first, *others = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["rows"]
    assert first["result"] == "failed: RuntimeError: Expected all tensors to be on the same device"
    assert "in fails" in first["traceback"]
    assert [row["result"] for row in others] == ["not ok", "ok"]
    assert check.failed


def test_without_time_nothing_is_begun(tmp_path: Path) -> None:
    check = Check(CPU, 0, tmp_path / "found.json", {})
    check.run(Measurement("A", "one", lambda _: pytest.fail("it was begun")))
    assert check.rows[0]["result"].startswith("left out")
    assert not check.failed


def test_useful_operations_are_those_of_a_model_that_computes_all_of_them() -> None:
    model = shapes.policy(shapes.config_of(SIZES["tiny"]), CPU.device)
    model.set_attn_implementation("eager")
    ids = torch.tensor([shapes.ids(12, 0), shapes.ids(12, 1)])
    with FlopCounterMode(display=False) as counted:
        model(ids).logits.sum().backward()
    # Eager attention computes all pairs, those that a mask forbids too.
    assert counted.get_total_flops() == 3 * (
        operations.of_reading(model, 24, 2 * 12**2) + operations.of_heads(model, 24)
    )


def test_a_tree_is_counted_by_what_its_tokens_see() -> None:
    model, tree = shapes.prm(shapes.config_of(SIZES["tiny"]), CPU.device), TokenTree()
    root = tree.add(shapes.ids(6, "root"))
    tree.add(shapes.ids(3, "branch"), parent=root, length=4)
    assert operations.of_trees(model, [tree]) == operations.of_reading(model, 9, sum(range(1, 7)) + 5 + 6 + 7)


def test_a_step_of_online_dpo_is_counted_once() -> None:
    work = trainings.dpo(SIZES["tiny"], CPU, trainings.How(10_000, dtype=torch.float32))
    with work.shards as shards:
        assert shards.backward([work.part]).loss is not None
    tokens, counted = work.counted()
    assert tokens > SIZES["tiny"].length
    assert counted > 5 * token_flops(work.model) * tokens
    assert work.counted() == (0, 0)


@pytest.mark.parametrize(
    ("name", "peak"),
    [("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA A100-SXM4-80GB", 312), ("NVIDIA L4", None)],
)
def test_peaks_are_found_by_name(name: str, peak: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Card, "name", name)
    assert Card.of("cpu", None).peak == peak
    assert Card.of("cpu", 100.0).peak == 100


def test_the_goal_is_told() -> None:
    row = {"name": "SFT", "parameters": 2e8, "share_of_peak": 0.41}
    assert "not reached, 30.0%" in training.goal([{**row, "share_of_peak": 0.3}])
    assert "reached, 41.0% (SFT)" in training.goal([row, {**row, "share_of_peak": 0.3}, {**row, "parameters": 1e6}])
    assert "not measured" in training.goal([{**row, "parameters": 1e6}])
