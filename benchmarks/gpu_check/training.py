"""Part F: steps of our trainings, SFT, PRM and Online DPO: tokens a second, share of the card's peak, memory.

Operations that are counted as useful: of every token read, two a weight of the backbone's products forward and four
backward; of every pair of tokens of which one sees the other, attention's; of every token that is learnt, the head's.
What is recomputed, padding, the optimizer's and, in Online DPO, the drawing of answers are not.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch.nn.functional import rms_norm
from transformers import PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from agentprm_dagster.config import Prm
from agentprm_dagster.config.compute import TrainingCompute
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.lean_layers import use_lean_layers
from agentprm_dagster.engine.embedded.token_tree import TokenTree
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.improvement.dpo_settings import Settings as Dpo
from agentprm_dagster.improvement.judging import Judge
from agentprm_dagster.improvement.online_dpo import improvement_work
from agentprm_dagster.launch.device import place
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.shards import Shards
from agentprm_dagster.training.candidates import Candidate, CandidateTrees
from agentprm_dagster.training.loop import Plan, Training
from agentprm_dagster.training.prm_examples import loss_items, loss_terms
from agentprm_dagster.training.sft import answers_work
from agentprm_dagster.training.tree_training import tree_work
from benchmarks.gpu_check import shapes
from benchmarks.gpu_check.card import Card
from benchmarks.gpu_check.check import Measurement, Numbers
from benchmarks.gpu_check.shapes import Size
from benchmarks.limits import token_flops

EQ_2 = Prm(pairwise_weight=0, reply_weight=0)
"""The paper's PRM: each decision's own target alone."""

GOAL = 0.4
"""Share of the peak that a training of at least 100 million parameters should reach."""


@dataclass(frozen=True)
class How:
    """What may be chosen without changing what is learnt."""

    micro_batch_tokens: int
    recompute: bool = False
    dtype: torch.dtype = torch.bfloat16
    """Of products."""
    tf32: bool = False

    def compute(self, card: Card) -> TrainingCompute:
        """As a training is told."""
        return TrainingCompute(
            device=card.device.type,
            micro_batch_tokens=self.micro_batch_tokens,
            activation_checkpointing=self.recompute,
        )


@dataclass(frozen=True)
class Work:
    """A training that can be stepped."""

    model: PreTrainedModel
    shards: Shards
    part: Any
    """Of every step's batch, the one that there is."""
    tokens: Callable[[], int]
    """That the last step learnt from."""
    operations: Callable[[], float]
    """Useful ones of the last step."""


Build = Callable[[Size, Card, How], Work]


def sft(size: Size, card: Card, how: How, *, layers: int | None = None, fused_norms: bool = False) -> Work:
    """Supervised fine-tuning; with `fused_norms` the norms are torch's, one operation each."""
    model = shapes.policy(shapes.config_of(size, layers), card.device)
    use_lean_layers(model)
    if fused_norms:
        _fuse_norms(model)
    place(model, how.compute(card))
    batch = shapes.rows(size.episodes, size.length)
    learnt = sum(label != -100 for row in batch for label in row.labels)
    pairs = sum(len(row.ids) ** 2 / 2 for row in batch)
    tokens = sum(len(row.ids) for row in batch)
    operations = 3 * (_read(model, tokens, pairs) + _heads(model, learnt))
    shards = Shards(model.train(), answers_work, how.micro_batch_tokens, dtype=how.dtype, apart=False)
    return Work(model, shards, batch, lambda: tokens, lambda: operations)


def prm(size: Size, card: Card, how: How, *, branches: int = 0, layers: int | None = None) -> Work:
    """A process reward model; with `branches` its episodes are trees, which need a mask."""
    model = shapes.prm(shapes.config_of(size, layers), card.device)
    _prepare(model, how.compute(card))
    batch = shapes.examples(size.episodes, size.length, branches=branches, replies=False)
    trees = [example.tree for example in batch]
    operations = 3 * _read_trees(model, trees)
    build = (tree_work, loss_terms, loss_items, EQ_2, how.micro_batch_tokens)
    shards = Shards(model.train(), *build, dtype=how.dtype, apart=False)
    return Work(model, shards, (batch, 0.5), lambda: sum(map(len, trees)), lambda: operations)


def _fuse_norms(model: PreTrainedModel) -> None:
    for module in model.modules():
        if isinstance(module, LlamaRMSNorm):
            how = {"normalized_shape": module.weight.shape, "weight": module.weight, "eps": module.variance_epsilon}
            module.forward = partial(rms_norm, **how)


@dataclass(frozen=True, slots=True)
class AnyAnswer(Judge):
    """The PRM's values of answers that hold no action: models of random weights give no others."""

    judged: list[CandidateTrees] = field(default_factory=list)
    """Since it was last emptied."""

    @torch.no_grad()
    def values(
        self, prefixes: Sequence[EpisodeTokens], candidates: Sequence[Candidate], trees: CandidateTrees
    ) -> tuple[torch.Tensor, int]:
        """See the base."""
        self.judged.append(trees)
        return trees.values(self.prm).sigmoid(), trees.tokens_read


def dpo(size: Size, card: Card, how: How, *, layers: int | None = None) -> Work:
    """Online DPO: four answers are drawn in each of three states of half as many episodes, judged and learnt from."""
    config = shapes.config_of(size, layers)
    model = shapes.policy(config, card.device)
    reference = shapes.policy(config, card.device, how.dtype, seed=2).requires_grad_(False)
    critic = shapes.prm(config, card.device, how.dtype)
    for each in (model, reference, critic):
        _prepare(each, how.compute(card))
    batch = shapes.prefixes(max(size.episodes // 2, 1), size.length)
    settings = Dpo(
        candidates=4, states_per_episode=3, episodes_per_step=len(batch), max_new_tokens=size.answer, min_gap=0
    )
    chat, longest = Chat(shapes.tokenizer(), WORDING), max(prefix.states[-1] for prefix in batch)
    judge = AnyAnswer(critic, chat)

    def operations() -> float:
        drawn = sum(len(trees.answers.tokens) for trees in judge.judged)
        read = sum(_read_trees(model, trees.trees) for trees in judge.judged)
        # The policy's passes forward and backward, the reference's and the PRM's.
        return 5 * read + 4 * _heads(model, drawn)

    given = (reference, judge, chat, settings, longest, 0, "append", None, None, how.micro_batch_tokens)
    shards = Shards(model, improvement_work, *given, dtype=how.dtype, apart=False)
    return Work(
        model, shards, (0, batch), lambda: sum(trees.tokens_read for trees in judge.judged), _emptied(judge, operations)
    )


def _emptied(judge: AnyAnswer, operations: Callable[[], float]) -> Callable[[], float]:
    def counted() -> float:
        count = operations()
        judge.judged.clear()
        return count

    return counted


def _prepare(model: PreTrainedModel, compute: TrainingCompute) -> None:
    use_grouped_attention(model)
    use_lean_layers(model)
    place(model, compute)


def _read(model: PreTrainedModel, tokens: float, pairs: float) -> float:
    """Operations of the backbone on so many tokens, of which so many pairs see each other."""
    config = model.config
    return token_flops(model) * tokens + 4 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * (
        pairs
    )


def _read_trees(model: PreTrainedModel, trees: list[TokenTree]) -> float:
    pairs = 0.0
    for tree in trees:
        tree.fill(sees := torch.zeros(len(tree), len(tree), dtype=torch.bool))
        pairs += float(sees.sum())
    return _read(model, sum(map(len, trees)), pairs)


def _heads(model: PreTrainedModel, tokens: float) -> float:
    return 2.0 * model.config.vocab_size * model.config.hidden_size * tokens


@contextmanager
def products(how: How) -> Iterator[None]:
    """Within it float32 is computed by TF32 where that is asked for."""
    torch.set_float32_matmul_precision("high" if how.tf32 else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


def measure(build: Build, size: Size, card: Card, how: How) -> Numbers:
    """Steps of the loop of every training, the first of which is not timed."""
    work = build(size, card, how)
    training = Training(work.model, Plan(1 + size.steps, "adamw", 1e-5), Job(seed=0))
    seconds, losses, tokens, operations = [], [], [], []
    with work.shards as shards, products(how):
        start = perf_counter()
        for step in training.steps(shards, lambda _: [work.part], "steps"):
            card.settle()
            seconds.append(perf_counter() - start)
            losses.append(step.loss)
            tokens.append(work.tokens())
            operations.append(work.operations())
            start = perf_counter()
    took = median(seconds[1:])
    rate = median(operations[1:]) / took / 1e12
    return {
        "ok": all(loss is not None and math.isfinite(loss) for loss in losses),
        "tokens_per_s": median(tokens[1:]) / took,
        "tflops": rate,
        **({"share_of_peak": rate / card.peak} if card.peak else {}),
        "s_a_step": took,
        "parameters": sum(parameter.numel() for parameter in work.model.parameters()),
    }


def measurements(sizes: list[Size], card: Card) -> Iterator[Measurement]:
    """Every training at every size of pieces, with and without recomputing, and what else is to be known of SFT."""

    def line(name: str, size: Size, build: Build, how: How) -> Measurement:
        def measured(tokens: int) -> Numbers:
            return measure(build, size, card, replace(how, micro_batch_tokens=tokens))

        kept = "recomputed" if how.recompute else "kept"
        dtype = "TF32" if how.tf32 else str(how.dtype).removeprefix("torch.")
        what = f"{name}, {size.what}, {dtype}, activations {kept}, {{size}} tokens a piece"
        return Measurement("F", what, measured, how.micro_batch_tokens, size.length)

    for size in sizes:
        kept, recomputed = [How(n) for n in size.kept], [How(n, recompute=True) for n in size.recomputed]
        yield from (line("SFT", size, sft, how) for how in (*kept, *recomputed))
        yield from (line("PRM", size, prm, how) for how in (kept[-1], recomputed[-1]))
        yield line("PRM of trees", size, lambda *given: prm(*given, branches=4), recomputed[0])
        yield line("Online DPO", size, dpo, recomputed[0])
        yield line("SFT, fused norms", size, lambda *given: sft(*given, fused_norms=True), kept[-1])
    small = sizes[0]
    how = How(small.kept[0] // 4, dtype=torch.float32)  # flash attention knows no float32: all scores are kept
    yield from (line("SFT", small, sft, each) for each in (how, replace(how, tf32=True)))


def goal(rows: list[Numbers]) -> str:
    """Whether it is reached."""
    large = [row for row in rows if row.get("parameters", 0) >= 1e8 and "share_of_peak" in row]
    if not large:
        return f"Goal, {GOAL:.0%} of the peak in training at 100 million parameters or more: not measured here."
    best = max(large, key=lambda row: row["share_of_peak"])
    reached = "reached" if best["share_of_peak"] >= GOAL else "not reached"
    return f"Goal, {GOAL:.0%} of the peak in training: {reached}, {best['share_of_peak']:.1%} ({best['name']})."
