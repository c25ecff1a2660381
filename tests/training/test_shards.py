"""Gradients of a batch's shards, computed together or one after the other."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from agentprm_dagster.training.shards import Numbers, ShardError, Shards, Work

IDS = torch.arange(40).view(4, 10) % 32


def tiny() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=32,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            tie_word_embeddings=True,
        )
    )


def language_modelling(model: PreTrainedModel, shard: int, scale: float) -> Work:
    def work(ids: torch.Tensor) -> tuple[torch.Tensor | None, Numbers]:
        if not len(ids):
            return None, {"shard": shard, "loss": 0.0}
        loss = scale * model(input_ids=ids, labels=ids).loss
        return loss, {"shard": shard, "loss": loss.item(), "process": os.getpid()}

    return work


def failing(model: PreTrainedModel, shard: int, how: str) -> Work:
    if shard and how == "dies before it reads":
        os.kill(os.getpid(), signal.SIGKILL)

    def work(part: Any) -> tuple[torch.Tensor | None, Numbers]:
        if shard == 0:
            return None, {}
        if how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        raise KeyError("no such thing")

    return work


def gradients(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def trained(*, apart: bool) -> tuple[PreTrainedModel, list[Numbers]]:
    model = tiny()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    said = []
    with Shards(model, language_modelling, 1.0, apart=apart) as shards:
        for _ in range(3):
            said += shards.backward([IDS[:2], IDS[2:]])
            optimizer.step()
    return model, said


def test_the_gradient_is_the_batchs() -> None:
    model, whole = tiny(), tiny()
    whole(input_ids=IDS, labels=IDS).loss.backward()
    with Shards(model, language_modelling, 1.0, apart=False) as shards:
        numbers = shards.backward([IDS[:2], IDS[2:]])
    expected = gradients(whole)
    assert gradients(model).keys() == expected.keys()
    for name, gradient in gradients(model).items():
        assert torch.allclose(gradient, expected[name], atol=1e-6), name
    assert [said["shard"] for said in numbers] == [0, 1]


def test_in_two_processes_every_bit_is_the_same() -> None:
    (together, said_together), (alone, said_alone) = trained(apart=True), trained(apart=False)
    for (name, one), other in zip(together.named_parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other), name
    assert [said["loss"] for said in said_together] == [said["loss"] for said in said_alone]
    assert {said["process"] for said in said_alone} == {os.getpid()}
    assert len({said["process"] for said in said_together}) == 2


@pytest.mark.parametrize("apart", [True, False])
def test_a_shard_with_nothing_to_learn_is_a_gradient_of_zero(apart: bool) -> None:
    model, half = tiny(), tiny()
    (0.5 * half(input_ids=IDS[:2], labels=IDS[:2]).loss).backward()
    with Shards(model, language_modelling, 1.0, apart=apart) as shards:
        shards.backward([IDS[:2], IDS[:0]])
        for name, gradient in gradients(model).items():
            assert torch.allclose(gradient, gradients(half)[name], atol=1e-6), name
        shards.backward([IDS[:0], IDS[:0]])
        assert not gradients(model), "nothing to step on"


def test_a_batch_too_small_to_be_cut() -> None:
    model, whole = tiny(), tiny()
    whole(input_ids=IDS[:1], labels=IDS[:1]).loss.backward()
    with Shards(model, language_modelling, 1.0, apart=False) as shards:
        assert len(shards.backward([IDS[:1]])) == 1
    assert all(torch.allclose(g, gradients(whole)[name]) for name, g in gradients(model).items())


@pytest.mark.parametrize(
    ("how", "told"), [("fails", "no such thing"), ("dies", "exit code -9"), ("dies before it reads", "exit code -9")]
)
def test_what_went_wrong_elsewhere_is_told(how: str, told: str) -> None:
    with Shards(tiny(), failing, how, apart=True) as shards, pytest.raises(ShardError, match=told):
        shards.backward([None, None])


def test_nobody_is_left_when_the_trainer_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import os, signal\n"
        "from test_shards import IDS, language_modelling, tiny\n"
        "from agentprm_dagster.training.shards import Shards\n"
        "if __name__ == '__main__':\n"
        "    shards = Shards(tiny(), language_modelling, 1.0, apart=True)\n"
        "    _, there = shards.backward([IDS[:2], IDS[2:]])\n"
        "    print(there['process'], flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    ran = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(float(ran.stdout))).wait(timeout=60)


def test_a_large_model_is_not_cut() -> None:
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=30_000, hidden_size=256, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
        )
    )
    with Shards(model, language_modelling, 1.0) as shards:
        (said,) = shards.backward([IDS[:2]])
    assert said["shard"] == 0
