"""Our trainings, SFT, PRM and Online DPO, on models with random weights, ready to be stepped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
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
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.improvement.dpo_settings import Settings as Dpo
from agentprm_dagster.improvement.judging import Judge
from agentprm_dagster.improvement.online_dpo import improvement_work
from agentprm_dagster.launch.device import place
from agentprm_dagster.launch.shards import Shards
from agentprm_dagster.training.candidates import Candidate, CandidateTrees
from agentprm_dagster.training.prm_examples import loss_items, loss_terms
from agentprm_dagster.training.sft import answers_work
from agentprm_dagster.training.tree_training import tree_work
from benchmarks.gpu_check import shapes
from benchmarks.gpu_check.card import Card
from benchmarks.gpu_check.operations import of_heads, of_reading, of_trees
from benchmarks.gpu_check.shapes import Size

EQ_2 = Prm(pairwise_weight=0, reply_weight=0)
"""The paper's PRM: each decision's own target alone."""


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
    counted: Callable[[], tuple[int, float]]
    """Tokens that the last step learnt from, and its useful operations."""


Build = Callable[[Size, Card, How], Work]


def sft(size: Size, card: Card, how: How, *, layers: int | None = None, fused_norms: bool = False) -> Work:
    """Supervised fine-tuning; with `fused_norms` the norms are torch's, one operation each."""
    model = shapes.policy(shapes.config_of(size, layers), card.device)
    use_lean_layers(model)
    if fused_norms:
        _fuse_norms(model)
    place(model, how.compute(card))
    batch = shapes.rows(size.episodes, size.length)
    tokens, learnt = size.episodes * size.length, sum(label != -100 for row in batch for label in row.labels)
    operations = 3 * (of_reading(model, tokens, tokens * size.length / 2) + of_heads(model, learnt))
    shards = Shards(model.train(), answers_work, how.micro_batch_tokens, dtype=how.dtype, apart=False)
    return Work(model, shards, batch, lambda: (tokens, operations))


def prm(size: Size, card: Card, how: How, *, branches: int = 0, layers: int | None = None) -> Work:
    """A process reward model; with `branches` its episodes are trees, which need a mask."""
    model = shapes.prm(shapes.config_of(size, layers), card.device)
    _prepare(model, how.compute(card))
    batch = shapes.examples(size.episodes, size.length, branches=branches, replies=False)
    trees = [example.tree for example in batch]
    tokens, operations = sum(map(len, trees)), 3 * of_trees(model, trees)
    build = (tree_work, loss_terms, loss_items, EQ_2, how.micro_batch_tokens)
    shards = Shards(model.train(), *build, dtype=how.dtype, apart=False)
    return Work(model, shards, (batch, 0.5), lambda: (tokens, operations))


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
    given = (reference, judge, chat, settings, longest, 0, "append", None, None, how.micro_batch_tokens)
    shards = Shards(model, improvement_work, *given, dtype=how.dtype, apart=False)
    return Work(model, shards, (0, batch), lambda: _compared(model, judge.taken()))


def _compared(model: PreTrainedModel, judged: Sequence[CandidateTrees]) -> tuple[int, float]:
    """What was learnt of the answers: the policy's passes forward and backward, the reference's and the PRM's."""
    read = sum(of_trees(model, trees.trees) for trees in judged)
    drawn = sum(len(trees.answers.tokens) for trees in judged)
    return sum(trees.tokens_read for trees in judged), 5 * read + 4 * of_heads(model, drawn)


@dataclass(frozen=True, slots=True)
class AnyAnswer(Judge):
    """The PRM's values of answers that hold no action: models of random weights give no others."""

    judged: list[CandidateTrees] = field(default_factory=list)

    @torch.no_grad()
    def values(
        self, prefixes: Sequence[EpisodeTokens], candidates: Sequence[Candidate], trees: CandidateTrees
    ) -> tuple[torch.Tensor, int]:
        """See the base."""
        self.judged.append(trees)
        return trees.values(self.prm).sigmoid(), trees.tokens_read

    def taken(self) -> list[CandidateTrees]:
        """What was judged since this was last asked."""
        judged = list(self.judged)
        self.judged.clear()
        return judged


def _prepare(model: PreTrainedModel, compute: TrainingCompute) -> None:
    use_grouped_attention(model)
    use_lean_layers(model)
    place(model, compute)


def _fuse_norms(model: PreTrainedModel) -> None:
    for module in model.modules():
        if isinstance(module, LlamaRMSNorm):
            how = {"normalized_shape": module.weight.shape, "weight": module.weight, "eps": module.variance_epsilon}
            module.forward = partial(rms_norm, **how)
