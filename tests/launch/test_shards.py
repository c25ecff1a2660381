"""Gradients of a batch's shards, computed together or one after the other."""

import os
import signal
import subprocess
import sys
import weakref
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from agentprm_dagster.algorithm.terms import KL, Term, Terms
from agentprm_dagster.launch.pieces import Numbers, Piece, PieceError, Step, Work
from agentprm_dagster.launch.shards import Shards
from agentprm_dagster.workers import WorkerError

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
    """The mean negative log-likelihood of rows' tokens, times `scale`."""

    def read(ids: torch.Tensor) -> tuple[Terms, Numbers]:
        predicted = ids[:, 1:].numel()
        loss = scale * predicted * model(input_ids=ids, labels=ids).loss if predicted else torch.zeros(())
        return {"tokens": Term(loss, predicted)}, {"shard": shard, "process": os.getpid()}

    return lambda ids: [Piece(lambda: read(ids))]


def in_pieces(model: PreTrainedModel, shard: int, rows: int, counted: bool, wrong: int = 0) -> Work:
    """The same, so many rows at a time, whose items are known before they are read or not."""
    (whole,) = (language_modelling(model, shard, 1.0),)

    def work(ids: torch.Tensor) -> list[Piece]:
        return [
            whole(some)[0]._replace(items={"tokens": some[:, 1:].numel() + wrong} if counted else None)
            for some in ids.split(rows)
        ]

    return work


def failing(model: PreTrainedModel, shard: int, how: str) -> Work:
    if shard and how == "dies before it reads":
        os.kill(os.getpid(), signal.SIGKILL)

    def read() -> tuple[Terms, Numbers]:
        if shard == 0:
            return {}, {}
        if how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        raise KeyError("no such thing")

    return lambda part: [Piece(read)]


def gradients(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def trained(*, apart: bool) -> tuple[PreTrainedModel, list[Step]]:
    model = tiny()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    steps = []
    with Shards(model, language_modelling, 1.0, apart=apart) as shards:
        for _ in range(3):
            steps.append(shards.backward([IDS[:2], IDS[2:]]))
            optimizer.step()
    return model, steps


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_the_gradient_is_the_batchs_however_it_is_cut(apart: bool, cut: int) -> None:
    model, whole = tiny(), tiny()
    expected = whole(input_ids=IDS, labels=IDS).loss
    expected.backward()
    with Shards(model, language_modelling, 1.0, apart=apart) as shards:
        step = shards.backward([IDS[:cut], IDS[cut:]])
    assert step.loss == pytest.approx(expected.item(), abs=1e-6)
    assert gradients(model).keys() == gradients(whole).keys()
    for name, gradient in gradients(model).items():
        assert torch.allclose(gradient, gradients(whole)[name], atol=1e-6), name
    assert [said["shard"] for said in step.numbers] == [0, 1]


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_the_gradient_is_the_batchs_in_whatever_pieces_it_is_read(apart: bool, counted: bool, rows: int) -> None:
    model, whole = tiny(), tiny()
    expected = whole(input_ids=IDS, labels=IDS).loss
    expected.backward()
    with Shards(model, in_pieces, rows, counted, apart=apart) as shards:
        step = shards.backward([IDS[:1], IDS[1:]])
    assert step.loss == pytest.approx(expected.item(), abs=1e-6)
    assert len(step.numbers) == 1 + -(-3 // rows)
    for name, gradient in gradients(model).items():
        assert torch.allclose(gradient, gradients(whole)[name], atol=1e-6), name


def test_a_piece_that_miscounts_is_refused() -> None:
    with Shards(tiny(), in_pieces, 2, True, 1) as shards, pytest.raises(PieceError, match="said that its terms"):
        shards.backward([IDS])


def test_pieces_are_read_one_at_a_time() -> None:
    """Else their activations would lie in memory together."""
    model, reads = tiny(), []

    def noting(model: PreTrainedModel, shard: int) -> Work:
        def piece(i: int) -> Piece:
            def read() -> tuple[Terms, Numbers]:
                reads.append((i, model.lm_head.weight.grad is not None))
                return {"tokens": Term(model.lm_head.weight.sum(), 1)}, {}

            return Piece(read, {"tokens": 1})

        return lambda part: [piece(i) for i in range(3)]

    with Shards(model, noting) as shards:
        shards.backward([None])
    assert reads == [(0, False), (1, True), (2, True)], "each behind the backward pass of the one before"


def test_gradients_are_let_go_with_the_parameters_own() -> None:
    model = tiny()
    with Shards(model, language_modelling, 1.0, apart=False) as shards:
        shards.backward([IDS])
        held = [weakref.ref(p.grad) for p in model.parameters() if p.grad is not None]
        model.zero_grad()
        assert held
        assert not [each for each in held if each() is not None]


def test_products_are_in_the_type_that_is_asked_for_and_gradients_in_float32() -> None:
    seen = []

    def noting(model: PreTrainedModel, shard: int) -> Work:
        def read() -> tuple[Terms, Numbers]:
            logits = model(input_ids=IDS).logits
            seen.append(logits.dtype)
            return {"tokens": Term(logits.float().sum(), 1)}, {}

        return lambda part: [Piece(read)]

    for dtype in (torch.float32, torch.bfloat16):
        model = tiny()
        with Shards(model, noting, dtype=dtype) as shards:
            shards.backward([None])
        assert {each.dtype for each in gradients(model).values()} == {torch.float32}
    assert seen == [torch.float32, torch.bfloat16]


def test_in_two_processes_every_bit_is_the_same() -> None:
    (together, steps_together), (alone, steps_alone) = trained(apart=True), trained(apart=False)
    for (name, one), other in zip(together.named_parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other), name
    assert [step.loss for step in steps_together] == [step.loss for step in steps_alone]
    assert {said["process"] for step in steps_alone for said in step.numbers} == {os.getpid()}
    assert len({said["process"] for step in steps_together for said in step.numbers}) == 2


@pytest.mark.parametrize("apart", [True, False])
def test_a_shard_with_nothing_to_learn_weighs_nothing(apart: bool) -> None:
    model, half = tiny(), tiny()
    half(input_ids=IDS[:2], labels=IDS[:2]).loss.backward()
    with Shards(model, language_modelling, 1.0, apart=apart) as shards:
        shards.backward([IDS[:2], IDS[:0]])
        for name, gradient in gradients(model).items():
            assert torch.allclose(gradient, gradients(half)[name], atol=1e-6), name
        assert shards.backward([IDS[:0], IDS[:0]]).loss is None
        assert not gradients(model), "nothing to step on"


@pytest.mark.parametrize("apart", [True, False])
def test_what_only_holds_back_is_no_step_by_itself_and_counts_in_every_shard(apart: bool) -> None:
    model = tiny()
    with Shards(model, held_back, apart=apart) as shards:
        assert shards.backward([(0.0, 4), (0.0, 4)]).loss is None
        assert not gradients(model)
        # Seven pairs in one shard, none in the other: the mean over the pairs, and over all draws.
        step = shards.backward([(7.0, 4), (0.0, 12)])
    weight = tiny().lm_head.weight.detach()
    assert step.loss == pytest.approx(float(weight.sum()) + float((weight**2).sum()), rel=1e-5)
    torch.testing.assert_close(model.lm_head.weight.grad, 1 + 2 * weight)


def held_back(model: PreTrainedModel, shard: int) -> Work:
    """Pairs whose loss is a sum of weights each, and draws that are each held back by the squares."""

    def read(pairs: float, draws: int) -> tuple[Terms, Numbers]:
        weight = model.lm_head.weight
        terms = {KL: Term(draws * (weight**2).sum(), draws)}
        return {**terms, "pairs": Term(pairs * weight.sum(), pairs)} if pairs else terms, {}

    return lambda part: [Piece(lambda: read(*part))]


@pytest.mark.parametrize("apart", [True, False])
def test_what_a_step_draws_depends_on_its_seed_alone(apart: bool) -> None:
    with Shards(tiny(), drawing, apart=apart) as shards:
        first, other, again = (shards.backward([None, None], seed=seed).numbers for seed in (1, 2, 1))
    assert first == again
    assert len({said["drawn"] for said in (*first, *other)}) == 4, "each shard's and each step's own"


def drawing(model: PreTrainedModel, shard: int) -> Work:
    return lambda part: [Piece(lambda: ({}, {"drawn": float(torch.rand(1))}))]


def test_a_batch_too_small_to_be_cut() -> None:
    model, whole = tiny(), tiny()
    whole(input_ids=IDS[:1], labels=IDS[:1]).loss.backward()
    with Shards(model, language_modelling, 1.0, apart=False) as shards:
        assert len(shards.backward([IDS[:1]]).numbers) == 1
    assert all(torch.allclose(g, gradients(whole)[name]) for name, g in gradients(model).items())


def test_no_part_of_a_batch_is_dropped() -> None:
    with (
        Shards(tiny(), language_modelling, 1.0, apart=False) as shards,
        pytest.raises(PieceError, match="at most 2 parts of a batch, got 3"),
    ):
        shards.backward([IDS[:1], IDS[1:2], IDS[2:]])


@pytest.mark.parametrize(
    ("how", "told"),
    [("fails", "no such thing"), ("dies", "signal 9"), ("dies before it reads", "signal 9")],
)
def test_what_went_wrong_elsewhere_is_told(how: str, told: str) -> None:
    with Shards(tiny(), failing, how, apart=True) as shards, pytest.raises(WorkerError, match=told):
        shards.backward([None, None])


def test_nobody_is_left_when_the_trainer_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import os, signal\n"
        "from test_shards import IDS, language_modelling, tiny\n"
        "from agentprm_dagster.launch.shards import Shards\n"
        "if __name__ == '__main__':\n"
        "    shards = Shards(tiny(), language_modelling, 1.0, apart=True)\n"
        "    _, there = shards.backward([IDS[:2], IDS[2:]]).numbers\n"
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
        (said,) = shards.backward([IDS[:2]]).numbers
    assert said["shard"] == 0
