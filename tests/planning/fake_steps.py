"""Steps of our trainings on a fake GPU: prints the most bytes that lay on it, a line each. A program of its own, which
changes torch:

python -m planning.fake_steps '{"kind": "sft", "rows": 4, "tokens": 1312}'
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedModel

from agentprm_dagster.config import Prm
from agentprm_dagster.config.compute import TrainingCompute
from agentprm_dagster.engine.adapters import frozen_copy
from agentprm_dagster.engine.embedded.token_tree import TokenTree
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.improvement.dpo_settings import Settings as Dpo
from agentprm_dagster.improvement.online_dpo import improvement_piece
from agentprm_dagster.launch.device import place_trained
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.pieces import Piece, Work
from agentprm_dagster.launch.shards import Shards
from agentprm_dagster.training.candidates import Candidate, CandidateTrees
from agentprm_dagster.training.loop import Plan, Training
from agentprm_dagster.training.prm_examples import Example, loss_items, loss_terms
from agentprm_dagster.training.sft import Row, answers_work
from agentprm_dagster.training.tree_training import tree_work
from planning.asked import Asked
from planning.fake_gpu import FakeGpu, model_on

Trained = tuple[PreTrainedModel, Callable[..., Work], Any]
"""A model, what makes the work of a shard, and a batch."""


def sft(gpu: FakeGpu, asked: Asked) -> Trained:
    """Rows whose last tokens are an answer."""
    labels = [-100] * (asked.tokens - asked.answer) + [1] * asked.answer
    rows = [Row([1] * asked.tokens, labels)] * asked.rows
    model = to_train(gpu, asked, LlamaForCausalLM)
    return model, lambda model, shard: answers_work(model, shard, asked.micro_batch_tokens), rows


def prm(gpu: FakeGpu, asked: Asked) -> Trained:
    """One decision a row, as where every turn restates the history."""
    tree = TokenTree()
    tree.add([1] * asked.tokens)
    example = Example(tree, [asked.tokens - 1], targets=[0.5], rows=[0])
    work = (loss_terms, loss_items, Prm(pairwise_weight=0, reply_weight=0), asked.micro_batch_tokens)
    model = to_train(gpu, asked, LlamaForSequenceClassification)
    return model, lambda model, shard: tree_work(model, shard, *work), ([example] * asked.rows, 0.5)


def dpo(gpu: FakeGpu, asked: Asked) -> Trained:
    """Two answers in one state of every conversation, beside the reference and the PRM."""
    dtype: torch.dtype = getattr(torch, asked.dtype)
    model = to_train(gpu, asked, LlamaForCausalLM)
    reference = frozen_copy(model) if asked.rank else frozen(gpu, asked, LlamaForCausalLM, dtype)
    critic = frozen(gpu, asked, LlamaForSequenceClassification, dtype).eval()
    settings = Dpo(candidates=2, labels="hard", min_gap=0, kl_weight=0, beta=0.03, temperature=0.7)
    ids, answers = [1] * asked.tokens + [2] * asked.answer, [(asked.tokens, asked.tokens + asked.answer)]
    prefix = EpisodeTokens(ids, answers, None, [0])  # type: ignore[arg-type]  # nothing here asks for the episode

    def piece(rows: int) -> Piece:
        drawn = [Candidate((i, 0), (token,) * asked.answer, 1) for i in range(rows) for token in (2, 3)]
        trees = CandidateTrees([prefix] * rows, drawn)
        with torch.no_grad():
            trees.values(critic)
        judged = torch.tensor([0.9, 0.1] * rows), 0
        return improvement_piece(model, reference, trees, judged, settings, banned=[], sampled=0)

    def work(rows: int) -> list[Piece]:
        return [piece(min(asked.piece, rows - first)) for first in range(0, rows, asked.piece)]

    return model, lambda model, shard: work, asked.rows


def to_train(gpu: FakeGpu, asked: Asked, kind: Any) -> PreTrainedModel:
    """A model whose weights, or whose adapter's, are in float32."""
    dtype = getattr(torch, asked.dtype) if asked.rank else torch.float32
    return model_on(gpu, kind, LlamaConfig(**asked.config, num_labels=1), dtype, asked.rank)


def frozen(gpu: FakeGpu, asked: Asked, kind: Any, dtype: torch.dtype) -> PreTrainedModel:
    """A model that is read beside the one that is trained."""
    return model_on(gpu, kind, LlamaConfig(**asked.config, num_labels=1), dtype).requires_grad_(False)


def peak(asked: Asked, steps: int = 2) -> int:
    """The most bytes in some steps; the second has all that lies in memory between two."""
    compute = TrainingCompute(activation_checkpointing=asked.checkpointing)
    with FakeGpu() as gpu:
        model, build, batch = {"sft": sft, "prm": prm, "dpo": dpo}[asked.kind](gpu, asked)
        # The layers that a CPU is given are not a GPU's: they stay transformers' own.
        place_trained(model, compute, getattr(torch, asked.dtype))
        model.train()
        training = Training(model, Plan(steps, asked.optimizer, 1e-5), Job(seed=0, compute=compute))
        with Shards(model, build, dtype=getattr(torch, asked.dtype)) as shards:
            for _ in training.steps(shards, lambda _: [batch], "steps"):
                pass
        return gpu.peak


if __name__ == "__main__":
    for text in sys.argv[1:]:
        print(peak(Asked(**json.loads(text))), flush=True)
