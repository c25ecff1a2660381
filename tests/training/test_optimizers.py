"""Muon on the backbone's matrices, AdamW on the rest, one schedule for both."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from agentprm_dagster.engine import checkpoints
from agentprm_dagster.training import optimizers
from agentprm_dagster.training.optimizers import BatchedMuon, MuonAdamW, OptimizerName, build_optimizer


def test_every_parameter_has_one_optimizer(policy_folder: Path) -> None:
    prm = checkpoints.prm_from_policy(policy_folder, seed=0)
    optimizer = build_optimizer(prm, "muon", learning_rate=0.1, weight_decay=0.01)
    assert isinstance(optimizer, MuonAdamW)
    by_muon, by_adamw = ([p for group in part.param_groups for p in group["params"]] for part in optimizer.parts)
    names = {parameter: name for name, parameter in prm.named_parameters()}
    assert sorted(names[p] for p in [*by_muon, *by_adamw]) == sorted(names.values())
    assert {names[p].split(".")[-2] for p in by_muon} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }
    assert {names[p].split(".")[-2] for p in by_adamw} == {
        *("embed_tokens", "input_layernorm", "post_attention_layernorm", "norm", "score")
    }


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_schedule_reaches_all_parameters(policy_folder: Path, name: OptimizerName, restored: bool) -> None:
    model = checkpoints.load_policy(policy_folder)
    optimizer = build_optimizer(model, name, learning_rate=0.1)
    if restored:
        optimizer.load_state_dict(optimizer.state_dict())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: float(step > 0))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for moved in (False, True):
        model(torch.tensor([[7, 8, 9]]), labels=torch.tensor([[7, 8, 9]])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        same = [torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
        assert not any(same) if moved else all(same)


def test_its_state_can_be_stored(policy_folder: Path) -> None:
    def stepped(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
        model(torch.tensor([[7, 8, 9]]), labels=torch.tensor([[7, 8, 9]])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return [parameter.detach().clone() for parameter in model.parameters()]

    model = checkpoints.load_policy(policy_folder)
    optimizer = build_optimizer(model, "muon", learning_rate=0.01)
    stepped(model, optimizer)
    weights, state = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    other = checkpoints.load_policy(policy_folder)
    other.load_state_dict(weights)
    restored = build_optimizer(other, "muon", learning_rate=0.01)
    restored.load_state_dict(state)
    for mine, theirs in zip(stepped(model, optimizer), stepped(other, restored), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(("device", "fused"), [("cuda", True), ("cpu", None)])
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_adamw_is_one_kernel_on_a_gpu(name: OptimizerName, device: str, fused: bool | None) -> None:
    with FakeTensorMode():
        weights = {name: torch.nn.Parameter(torch.empty(2, 2, device=device)) for name in ("embed", "product")}
        optimizer = build_optimizer(torch.nn.ParameterDict(weights), name, learning_rate=0.1)
    adamw = optimizer.parts[1] if isinstance(optimizer, MuonAdamW) else optimizer
    assert adamw.param_groups[0]["fused"] == fused


@pytest.mark.parametrize("products", [torch.bfloat16, torch.float32], ids=str)
def test_matrices_together_are_stepped_as_by_torch(products: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "product_dtype", lambda: products)
    torch.manual_seed(0)
    shapes = [(8, 8), (8, 8), (4, 8), (20, 8), (20, 8), (8, 20)]
    mine = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = copy.deepcopy(mine)
    settings: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
    both = BatchedMuon(mine, **settings), torch.optim.Muon(theirs, **settings)
    for _ in range(3):
        for one, other in zip(mine, theirs, strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        for optimizer in both:
            optimizer.step()
    for one, other in zip(mine, theirs, strict=True):
        # torch multiplies in bfloat16, which rounds differently in a batch and alone, and coarser than float32.
        torch.testing.assert_close(one, other, atol=1e-2, rtol=1e-2)
