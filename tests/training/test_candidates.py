"""Candidates of many states of an episode, drawn and scored in one pass each, as if each state were read for itself."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.training.candidates import Candidate, CandidateSampler, CandidateTrees

NEW = 20


@pytest.fixture(scope="module")
def model(taught_folder: Path) -> PreTrainedModel:
    loaded = checkpoints.load_policy(taught_folder).eval()
    use_grouped_attention(loaded)
    return loaded


@pytest.fixture(scope="module")
def chat(taught_folder: Path) -> Chat:
    return Chat(checkpoints.load_tokenizer(taught_folder), WORDING)


@pytest.fixture(scope="module")
def prefixes(chat: Chat, demonstrations: list[Episode]) -> list[EpisodeTokens]:
    """Episodes of different lengths."""
    episodes = sorted(demonstrations[:12], key=lambda episode: len(episode.turns))[::4]
    return [chat.conversations(episode)[0] for episode in episodes]


def draw(
    model: PreTrainedModel, chat: Chat, prefixes: list[EpisodeTokens], *, n: int = 4, temperature: float = 1.0
) -> list[Candidate]:
    sampler = CandidateSampler.of_any(prefixes, model, chat, n=n, new=NEW)
    return sampler.draw(prefixes, temperature=temperature, seed=0)


@pytest.mark.parametrize("turns", [[0], [1, 2], [0, 2]])
def test_a_prompt_ends_where_its_last_answer_begins(
    chat: Chat, demonstrations: list[Episode], turns: list[int]
) -> None:
    for episode in demonstrations[:3]:
        (prefix,), (whole,) = chat.conversations(episode, "append", turns), chat.conversations(episode)
        assert prefix.states == [whole.answers[turn][0] for turn in turns]
        assert prefix.prompt == whole.ids[: prefix.states[-1]]


def test_greedy_candidates_are_those_of_generate(
    model: PreTrainedModel, chat: Chat, prefixes: list[EpisodeTokens]
) -> None:
    candidates = draw(model, chat, prefixes, temperature=0)
    assert [candidate.state for candidate in candidates] == [
        (row, turn) for row, prefix in enumerate(prefixes) for turn in range(len(prefix.states))
    ]
    stock = checkpoints.load_policy(Path(model.name_or_path)).eval()
    for candidate in candidates:
        assert candidate.draws == 4, "all draws agree"
        prefix, turn = candidate.state
        ids = prefixes[prefix].ids[: prefixes[prefix].states[turn]]
        generated = stock.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids)),
            do_sample=False,
            max_new_tokens=NEW,
            suppress_tokens=[i for i in chat.tokenizer.all_special_ids if i != chat.end],
        )[0, len(ids) :].tolist()
        assert list(candidate.ids) == [*(i for i in generated if i != chat.end), chat.end]


def test_every_draw_is_counted_once(model: PreTrainedModel, chat: Chat, prefixes: list[EpisodeTokens]) -> None:
    candidates = draw(model, chat, prefixes, n=6, temperature=2.0)
    draws = Counter[tuple[int, int]]()
    for candidate in candidates:
        draws[candidate.state] += candidate.draws
    states = [(row, turn) for row, prefix in enumerate(prefixes) for turn in range(len(prefix.states))]
    assert draws == dict.fromkeys(states, 6)
    assert len({(candidate.state, candidate.ids) for candidate in candidates}) == len(candidates) > len(states)


def test_drawing_again_with_other_weights_reads_again(
    chat: Chat, taught_folder: Path, prefixes: list[EpisodeTokens]
) -> None:
    model = checkpoints.load_policy(taught_folder).eval()
    use_grouped_attention(model)
    sampler = CandidateSampler.of_any(prefixes, model, chat, n=2, new=NEW)

    def greedy() -> list[Candidate]:
        return sampler.draw(prefixes, temperature=0, seed=0)

    first = greedy()
    assert greedy() == first
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.1)
    assert greedy() == draw(model, chat, prefixes, n=2, temperature=0) != first


@torch.no_grad()
def test_log_probabilities_are_those_of_teacher_forcing(
    model: PreTrainedModel, chat: Chat, prefixes: list[EpisodeTokens]
) -> None:
    candidates = draw(model, chat, prefixes, temperature=2.0)
    together = CandidateTrees(prefixes, candidates).log_probabilities(model)
    for log_p, candidate in zip(together.tolist(), candidates, strict=True):
        prefix, turn = candidate.state
        state = prefixes[prefix].ids[: prefixes[prefix].states[turn]]
        drawn = candidate.ids[:-1] if candidate.cut else candidate.ids
        logits = model(torch.tensor([[*state, *drawn]])).logits[0, len(state) - 1 : -1]
        alone = logits.log_softmax(-1).gather(-1, torch.tensor(drawn)[:, None]).sum().item()
        assert log_p == pytest.approx(alone, abs=1e-3)
    assert {candidate.cut for candidate in candidates} == {True, False}
    assert all(candidate.cut == (len(candidate.ids) == NEW + 1) for candidate in candidates)


@torch.no_grad()
def test_values_are_the_standard_heads(
    model: PreTrainedModel, chat: Chat, prefixes: list[EpisodeTokens], taught_folder: Path
) -> None:
    candidates = draw(model, chat, prefixes, temperature=2.0)
    critic, stock = (checkpoints.prm_from_policy(taught_folder, seed=1).eval() for _ in range(2))
    use_grouped_attention(critic)
    together = CandidateTrees(prefixes, candidates).values(critic)
    for value, candidate in zip(together.tolist(), candidates, strict=True):
        prefix, turn = candidate.state
        ids = [*prefixes[prefix].ids[: prefixes[prefix].states[turn]], *candidate.ids]
        assert value == pytest.approx(stock(torch.tensor([ids])).logits.item(), abs=1e-4)
