"""What the kinds of improvement share that learn from rollouts as they are: how they begin, and how they end.

No PRM tells what became better, so that the report says how far the policy has gone, measured in the same way for all:
KL(pi || pi_(i-1)) per answer, on answers that the new policy draws in states of the rollouts.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.answer_kl import answer_kl
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.adapters import frozen_copy, has_adapter
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.lean_layers import use_lean_layers
from agentprm_dagster.engine.heads import language_head
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.improvement.branched_states import policy_prefixes, some_states
from agentprm_dagster.improvement.inputs import Inputs
from agentprm_dagster.launch.device import computing, place, training_threads
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.ranks import is_first
from agentprm_dagster.reports.chart.training import draw_training
from agentprm_dagster.reports.improvement_report import Learnt, improvement_report
from agentprm_dagster.training.candidates import READ_TOGETHER, CandidateSampler, CandidateTrees
from agentprm_dagster.training.saving import save_trained

STATES, DRAWS = 200, 4
"""About in how many states answers are drawn to measure the KL, and how many in each."""


@dataclass(frozen=True, slots=True)
class Start:
    """pi_(i-1) twice: to be trained, and as it is."""

    model: PreTrainedModel
    reference: PreTrainedModel
    chat: Chat
    dtype: torch.dtype
    """In which products are computed, and weights stored."""


class Tokens(NamedTuple):
    """What was read to improve a policy; what is read to measure how far it went is not counted."""

    trained: float
    """Tokens that the policy read with gradients, in all steps."""
    besides: float = 0.0
    """Tokens that were read without."""


def begin(inputs: Inputs, job: Job) -> Start:
    """Loads the behaviour policy, and places it."""
    dtype = checkpoints.stored_dtype(inputs.policy)
    model = checkpoints.policy_to_train(inputs.policy)
    place(model, job.compute)
    reference = frozen_copy(model) if has_adapter(model) else checkpoints.load_policy(inputs.policy, dtype=dtype)
    for each in (model, reference):
        use_grouped_attention(each)
        use_lean_layers(each)
        place(each, job.compute)
    reference.requires_grad_(False).eval()
    return Start(model, reference, Chat(checkpoints.load_tokenizer(inputs.policy), inputs.environment.wording), dtype)


def finish(
    start: Start,
    inputs: Inputs,
    settings: Any,
    out: Path,
    history: Sequence[Mapping[str, float]],
    *,
    planned: int,
    learnt: Learnt,
    tokens: Tokens,
    job: Job,
) -> StageReport:
    """Writes the policy and reports on it.

    Args:
        settings: those that the kind was given.
        history: the numbers of every step, of which `planned` were to be taken.
    """
    prefixes = policy_prefixes(start.chat, inputs.episodes, settings.dialogue.format)
    kl = measured_kl(start, prefixes, new=settings.rollouts.max_new_tokens, seed=job.seed)
    save_trained(start.model, start.chat.tokenizer, out, start.dtype)
    if is_first():
        draw_training(history, out)
    report = improvement_report(history, planned=planned, max_kl=settings.gates.max_kl, kl=kl, learnt=learnt)
    read = {"tokens": sum(tokens), "trained_tokens": tokens.trained, "kl": kl}
    return replace(report, metrics={**report.metrics, **read})


@torch.no_grad()
def measured_kl(start: Start, prefixes: Sequence[EpisodeTokens], *, new: int, seed: int) -> float:
    """KL(model || reference) per answer, in nats, on answers of up to `new` tokens that the model draws.

    NaN where training has left no numbers to draw by.
    """
    some = some_states(prefixes, STATES, random.Random(seed))
    banned = start.chat.never_drawn(start.model.config.vocab_size)
    start.model.eval()
    went = drawn = 0.0
    with training_threads(start.model), computing(start.model, start.dtype):
        if not _answers(start.model, some[0]):
            return math.nan
        sampler = CandidateSampler.of_any(some, start.model, start.chat, n=DRAWS, new=new)
        for first in range(0, len(some), READ_TOGETHER):
            read = some[first : first + READ_TOGETHER]
            trees = CandidateTrees(read, sampler.draw(read, temperature=1.0, seed=seed))
            compared = trees.compared(start.model, start.reference, temperature=1.0, banned=banned)
            kl = answer_kl(trees.answers, compared)
            went += float((trees.answers.draws.to(kl.device) * kl).sum())
            drawn += float(trees.answers.draws.sum())
    return went / drawn


def _answers(model: PreTrainedModel, prefix: EpisodeTokens) -> bool:
    """Whether all logits behind a state are numbers."""
    ids = torch.tensor([prefix.prompt]).to(model.device)
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, -1]
    return bool(language_head(model)(hidden).isfinite().all())
