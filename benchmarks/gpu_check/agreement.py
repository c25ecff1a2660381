"""Parts A to D: the GPU's numbers beside the CPU's, in float32, of a small model with random weights."""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import torch
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.terms import loss_of
from agentprm_dagster.config import Prm
from agentprm_dagster.engine.base import Limits
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.engine import EmbeddedEngine
from agentprm_dagster.improvement.dpo_settings import Settings as Dpo
from agentprm_dagster.improvement.online_dpo import improvement_piece
from agentprm_dagster.launch.pieces import Piece
from agentprm_dagster.training.candidates import Candidate, CandidateTrees
from agentprm_dagster.training.prm_examples import loss_items, loss_terms
from agentprm_dagster.training.sft import answers_work
from agentprm_dagster.training.tree_training import tree_work
from benchmarks.gpu_check import shapes
from benchmarks.gpu_check.card import Card
from benchmarks.gpu_check.check import Measurement, Numbers
from benchmarks.gpu_check.shapes import SIZES

TOLERANCE = 1e-4
"""Largest difference, beside the CPU's numbers (the norm of one by the norm of the other)."""

_SMALL = SIZES["tiny"]
_CPU = torch.device("cpu")
_ANSWERS = 4


def measurements(card: Card) -> Iterator[Measurement]:
    """One after the other."""
    yield Measurement("A", "log-probabilities and PRM values", lambda _: both(read, card))
    yield Measurement("B", "gradients of SFT", lambda _: both(sft_gradients, card))
    yield Measurement("B", "gradients of the PRM", lambda _: both(prm_gradients, card))
    yield Measurement("C", "gradients of Online DPO", lambda _: both(dpo_gradients, card))
    yield Measurement("D", "answers drawn by seeds", lambda _: drawn_alike(card))


def both(compute: Callable[[torch.device], list[torch.Tensor]], card: Card) -> Numbers:
    """The largest difference of what is computed there and on the CPU."""
    there, here = compute(card.device), compute(_CPU)
    difference = max(_difference(a, b) for a, b in zip(there, here, strict=True))
    return {"ok": difference <= TOLERANCE, "difference": difference, "tolerance": TOLERANCE}


def _difference(there: torch.Tensor, here: torch.Tensor) -> float:
    there, here = there.detach().double().cpu(), here.detach().double().cpu()
    return float((there - here).norm() / here.norm().clamp(min=1e-12))


@cache
def _model(role: str, seed: int) -> PreTrainedModel:
    config = shapes.config_of(_SMALL)
    return shapes.policy(config, _CPU, seed=seed) if role == "policy" else shapes.prm(config, _CPU, seed=seed)


def on(device: torch.device, role: str, seed: int = 0) -> PreTrainedModel:
    """A copy of the one model of a role and a seed."""
    model = copy.deepcopy(_model(role, seed)).to(device)
    use_grouped_attention(model)
    return model


def read(device: torch.device) -> list[torch.Tensor]:
    """What policy and PRM say of some answers: by the engine's cached conversations, and of token trees."""
    conversations, answers = range(4), [[shapes.ids(3 + n, (c, n)) for n in range(3)] for c in range(4)]
    policy, prm = on(device, "policy"), on(device, "prm")
    engines = [EmbeddedEngine(model, conversations=4) for model in (policy, prm)]
    for engine in engines:
        for each in conversations:
            engine.begin(each, shapes.ids(20 + 9 * each, each))
    trees = CandidateTrees(shapes.prefixes(3, _SMALL.length), _candidates())
    with torch.no_grad():
        of_trees = trees.log_probabilities(policy), trees.values(prm)
    return [engines[0].log_probs(conversations, answers), engines[1].score(conversations, answers), *of_trees]


def sft_gradients(device: torch.device) -> list[torch.Tensor]:
    """Of rows of several lengths."""
    rows = [*shapes.rows(2, _SMALL.length), *shapes.rows(2, _SMALL.length // 2)]
    model = on(device, "policy")
    return _gradients(model, answers_work(model)(rows))


def prm_gradients(device: torch.device) -> list[torch.Tensor]:
    """Of trees and of rows, by all terms of the loss."""
    model = on(device, "prm")
    examples = [
        *shapes.examples(2, _SMALL.length, branches=4, replies=True),
        *shapes.examples(2, _SMALL.length, branches=0, replies=True),
    ]
    return _gradients(model, tree_work(model, 0, loss_terms, loss_items, Prm())((examples, 0.5)))


def dpo_gradients(device: torch.device) -> list[torch.Tensor]:
    """Of given answers, with soft labels and the full KL term."""
    model, reference, prm = on(device, "policy"), on(device, "policy", 2), on(device, "prm")
    trees = CandidateTrees(shapes.prefixes(3, _SMALL.length), _candidates())
    with torch.no_grad():
        values = trees.values(prm).sigmoid()
    settings = Dpo(labels="soft", min_gap=0, temperature=1.5)
    judged = values, trees.tokens_read
    piece = improvement_piece(model, reference, trees, judged, settings, banned=(3, 5), sampled=0)
    return _gradients(model, [piece])


def _candidates() -> list[Candidate]:
    states = [(prefix, state) for prefix in range(3) for state in range(3)]
    return [Candidate(state, (*shapes.ids(3 + n, (state, n)), 1), 1 + n) for state in states for n in range(_ANSWERS)]


def _gradients(model: PreTrainedModel, pieces: Sequence[Piece]) -> list[torch.Tensor]:
    """The loss and its gradients, as one row of numbers each."""
    (piece,) = pieces
    loss = loss_of(piece.read()[0])
    loss.backward()
    return [loss, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])]


def drawn_alike(card: Card) -> Numbers:
    """How many of the answers that two devices draw by the same seeds are the same: all, but for rounding at a draw."""
    there, here = (_drawn(device) for device in (card.device, _CPU))
    alike = [a == b for a, b in zip(there, here, strict=True)]
    return {"ok": sum(alike) >= 0.99 * len(alike), "difference": 1 - sum(alike) / len(alike), "answers": len(alike)}


def _drawn(device: torch.device) -> list[list[int]]:
    conversations = range(16)
    engine = EmbeddedEngine(on(device, "policy"), conversations=16)
    for each in conversations:
        engine.begin(each, shapes.ids(20 + 2 * each, each))
    limits = Limits(end=1, max_new_tokens=12, banned=(0, 2))
    sampled = engine.sample(
        conversations, _ANSWERS, limits, temperature=1.0, seeds=[7 + each for each in conversations]
    )
    return [ids for row in sampled.tokens for ids in row]
