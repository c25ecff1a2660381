"""KL per answer against the sum over every answer that there is, for a model of five tokens."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from agentprm_dagster.algorithm.answer_kl import answer_kl
from agentprm_dagster.algorithm.dpo import kl_divergence
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.improvement.dpo_settings import Settings as Improvement
from agentprm_dagster.improvement.online_dpo import terms_of
from agentprm_dagster.training.candidates import Candidate, CandidateTrees

BANNED, WORDS, END = 0, (1, 2, 3), 4
LONGEST = 3
"""Tokens; an answer of so many words is cut."""
NOBODY: Any = None
STATES = {(0, 0): [1, 2], (0, 1): [1, 2, 3]}
PREFIX = EpisodeTokens(ids=[1, 2, 3, 0], answers=[(2, 3), (3, 4)], episode=NOBODY, turns=[0, 1])
MANY = 10_000_000


def tiny(seed: int) -> PreTrainedModel:
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=5, max_position_embeddings=32, **sizes)).eval()
    with torch.no_grad():  # so that it has opinions, about the banned token as well
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.7)
    return model


@pytest.fixture(scope="module")
def models() -> tuple[PreTrainedModel, PreTrainedModel]:
    return tiny(0), tiny(1)


def every_answer() -> Iterator[Candidate]:
    """All answers in both states, as if drawn once each."""
    for state in STATES:
        for count in range(LONGEST):
            yield from (Candidate(state, (*words, END), 1) for words in product(WORDS, repeat=count))
        yield from (Candidate(state, (*words, END), 1, cut=True) for words in product(WORDS, repeat=LONGEST))


@torch.no_grad()
def next_token(model: PreTrainedModel, before: list[int]) -> torch.Tensor:
    logits: torch.Tensor = model(torch.tensor([before])).logits[0, -1]
    return logits


def acting(model: PreTrainedModel, before: list[int], temperature: float = 1.0) -> torch.Tensor:
    """The distribution that the next token is drawn from."""
    logits = next_token(model, before) / temperature
    logits[BANNED] = -torch.inf
    return logits.softmax(-1)


def probability(model: PreTrainedModel, answer: Candidate, temperature: float) -> float:
    """Of drawing an answer, token by token."""
    said, share = list(STATES[answer.state]), 1.0
    for token in answer.ids[:-1] if answer.cut else answer.ids:
        share *= float(acting(model, said, temperature)[token])
        said.append(token)
    return share


def exact(model: PreTrainedModel, reference: PreTrainedModel) -> float:
    """The KL per answer of the policy at temperature 1, over every prefix of every answer; the mean of both states."""

    def onward(before: list[int], left: int) -> float:
        p, q = (next_token(each, before).log_softmax(-1) for each in (model, reference))
        kl = float(kl_divergence(p, q))
        if left > 1:
            kl += sum(float(acting(model, before)[token]) * onward([*before, token], left - 1) for token in WORDS)
        return kl

    return sum(onward(state, LONGEST) for state in STATES.values()) / len(STATES)


def estimate(models: tuple[PreTrainedModel, PreTrainedModel], drawn: list[Candidate], temperature: float) -> float:
    trees = CandidateTrees([PREFIX], drawn)
    draws = trees.answers.draws
    with torch.no_grad():
        kl = answer_kl(trees.answers, trees.compared(*models, temperature=temperature, banned=[BANNED]))
    return float((draws * kl).sum() / draws.sum())


@pytest.mark.parametrize("temperature", [0.4, 0.7, 1.0, 1.5, 2.0])
def test_it_is_that_of_the_policy_at_1_whatever_the_temperature(
    models: tuple[PreTrainedModel, PreTrainedModel], temperature: float
) -> None:
    """Every answer is drawn as often as its probability says."""
    shares = [(each, probability(models[0], each, temperature)) for each in every_answer()]
    assert sum(share for _, share in shares) == pytest.approx(len(STATES))
    drawn = [
        Candidate(each.state, each.ids, count, each.cut) for each, share in shares if (count := round(share * MANY))
    ]
    assert estimate(models, drawn, temperature) == pytest.approx(exact(*models), rel=1e-3)
    unweighted = estimate(models, drawn, 1.0)
    assert (unweighted == pytest.approx(exact(*models), rel=1e-2)) is (temperature == 1), "the weights matter"


def test_a_few_draws_come_near(models: tuple[PreTrainedModel, PreTrainedModel]) -> None:
    answers, temperature = list(every_answer()), 1.5
    shares = torch.tensor([probability(models[0], each, temperature) for each in answers])
    chosen = shares.multinomial(3000, replacement=True, generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(chosen, minlength=len(answers)).tolist()
    drawn = [Candidate(a.state, a.ids, count, a.cut) for a, count in zip(answers, counts, strict=True) if count]
    assert estimate(models, drawn, temperature) == pytest.approx(exact(*models), rel=0.05)


def test_states_have_nothing_to_do_with_each_other(models: tuple[PreTrainedModel, PreTrainedModel]) -> None:
    """However a batch is cut between them, each answer's share is the same."""
    first = [Candidate((0, 0), (1, 2, END), 3), Candidate((0, 0), (2, END), 1)]
    second = [Candidate((0, 1), (3, 1, 2, END), 5, cut=True), Candidate((0, 1), (END,), 2)]
    together, *apart = (
        sum(each.draws for each in part) * estimate(models, part, 0.7) for part in (first + second, first, second)
    )
    assert together == pytest.approx(sum(apart), rel=1e-5)


def test_at_1_it_is_the_plain_sum(models: tuple[PreTrainedModel, PreTrainedModel]) -> None:
    drawn = [Candidate((0, 0), (1, 2, END), 3), Candidate((0, 1), (3, 1, 2, END), 1, cut=True)]
    trees = CandidateTrees([PREFIX], drawn)
    compared = trees.compared(*models, temperature=1.0, banned=[BANNED])
    plain = compared.kl
    assert len(plain) == 3 + 3, "the end token of what was cut was not drawn"
    kl = answer_kl(trees.answers, compared)
    torch.testing.assert_close(kl, torch.stack([plain[:3].sum(), plain[3:].sum()]))


def test_the_loss_tells_it(models: tuple[PreTrainedModel, PreTrainedModel]) -> None:
    drawn = [Candidate((0, 0), (1, 2, END), 3), Candidate((0, 0), (3, END), 1)]
    trees, settings = CandidateTrees([PREFIX], drawn), Improvement(temperature=1.5)
    _, numbers = terms_of(*models, trees, torch.tensor([0.9, 0.1]), settings, banned=[BANNED])
    assert numbers["kl"] == pytest.approx(estimate(models, drawn, 1.5))
    assert numbers["kl"] != pytest.approx(estimate(models, drawn, 1.0))


def test_greedy_draws_are_refused() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        Improvement(temperature=0)
