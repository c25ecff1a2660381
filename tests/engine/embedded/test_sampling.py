"""Candidates that share a conversation are drawn as if each had it for itself; what is kept stays as if fed alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.base import ContextOverflow
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.drawing import shares_of
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.sampling import Sampler, SlotSampled, _Batch
from agentprm_dagster.engine.embedded.slots import SlotModel
from agentprm_dagster.engine.tokenizer import SPECIAL_TOKENS
from agentprm_dagster.envs.alfworld.language import WORDING

END = 5
BANNED = [0, 1, 2, 3, 4]
PREFIXES = {0: list(range(20, 60)), 2: list(range(70, 75)), 3: list(range(30, 230))}
"""By slot; of all length classes below 512."""


@pytest.fixture(scope="module")
def model(taught_folder: Path) -> PreTrainedModel:
    loaded = checkpoints.load_policy(taught_folder).eval()
    use_grouped_attention(loaded)
    return loaded


class Watched(Sampler):
    """Remembers the log-probabilities (n, V) that every step's tokens were drawn from, by conversation."""

    def _pick(self, state: torch.Tensor, temperature: float, shares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.steps.append(dict(zip(self.order, self.head(state).log_softmax(-1), strict=True)))
        return super()._pick(state, temperature, shares)

    def _thin(self, *arguments: Any) -> list[_Batch]:
        batches = super()._thin(*arguments)
        self.order = torch.cat([batch.members for batch in batches]).tolist()
        return batches

    order: list[int]
    steps: list[dict[int, torch.Tensor]]


def fed(model: PreTrainedModel, slots: int = 4) -> tuple[SlotModel, torch.Tensor]:
    cache = SlotModel(model, slots=slots, capacity=512)
    return cache, cache.feed(list(PREFIXES), list(PREFIXES.values()))


def draw(model: PreTrainedModel, n: int, *, temperature: float = 2.0, new: int = 16) -> tuple[Watched, SlotSampled]:
    cache, hidden = fed(model)
    sampler = Watched(cache, model.get_output_embeddings(), end=END, banned=BANNED)
    sampler.order, sampler.steps = list(range(len(PREFIXES))), []
    sampled = sampler.draw(
        list(PREFIXES),
        hidden[:, None].expand(-1, n, -1),
        cache.lengths[list(PREFIXES)][:, None].expand(-1, n),
        temperature=temperature,
        shares=shares_of(range(len(PREFIXES)), n, new),
    )
    return sampler, sampled


def read(model: PreTrainedModel, ids: list[int]) -> torch.Tensor:
    """Log-probabilities (T, V) behind every token, the whole read at once."""
    return model(torch.tensor([ids])).logits[0].log_softmax(-1)


def test_the_tokenizers_special_tokens_are_those_named_here(taught_folder: Path) -> None:
    chat = Chat(checkpoints.load_tokenizer(taught_folder), WORDING)
    assert chat.end == END
    assert sorted(chat.tokenizer.all_special_ids) == [*BANNED, END] == list(range(len(SPECIAL_TOKENS)))


@torch.no_grad()
def test_every_lane_sees_the_conversation_and_itself(model: PreTrainedModel) -> None:
    sampler, sampled = draw(model, 5)
    assert {True, False} == {done for sequences in sampled.finished for done in sequences}
    for row, prefix in enumerate(PREFIXES.values()):
        for sequence, (ids, finished) in enumerate(zip(sampled.tokens[row], sampled.finished[row], strict=True)):
            answer = [*ids, END] if finished else ids
            assert not set(ids) & {*BANNED, END}
            expected = read(model, [*prefix, *answer])[len(prefix) - 1 : -1]
            drawn_from = torch.stack([step[row][sequence] for step in sampler.steps[: len(answer)]])
            torch.testing.assert_close(drawn_from, expected, atol=1e-4, rtol=1e-4)
            said = expected.gather(-1, torch.tensor(answer)[:, None]).sum()
            torch.testing.assert_close(sampled.log_probabilities[row, sequence], said, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n", [1, 4])
@torch.no_grad()
def test_what_is_kept_is_as_if_it_had_been_fed_alone(model: PreTrainedModel, n: int) -> None:
    sampler, sampled = draw(model, n)
    cache = sampler.slots
    choice = torch.tensor([n - 1, 0, n // 2])
    answers = [sequences[c] for sequences, c in zip(sampled.tokens, choice.tolist(), strict=True)]
    # A cut answer's last token has not been read: one less is kept than was drawn.
    counts = torch.tensor([max(len(ids) - 1, 0) for ids in answers])
    scratch = sampled.scratch[torch.arange(3), choice][:, : max(int(counts.max()), 1)]
    cache.keep(torch.tensor(list(PREFIXES)), scratch, counts)
    for (slot, prefix), ids, count in zip(PREFIXES.items(), answers, counts.tolist(), strict=True):
        alone = SlotModel(model, slots=1, capacity=512)
        alone.feed([0], [[*prefix, *ids[:count]]])
        assert cache.lengths[slot] == alone.lengths[0] == len(prefix) + count
        more = [[40, 41, 42]]
        torch.testing.assert_close(cache.feed([slot], more), alone.feed([0], more), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_slots_are_read_in_any_company(model: PreTrainedModel) -> None:
    together, _ = fed(model)
    rounds = [{1: [7, 8]}, {0: [9], 1: [10] * 40, 3: [11, 12, 13]}, {0: [14] * 200, 2: [15]}, {2: [16], 3: [17] * 33}]
    told = {slot: list(PREFIXES.get(slot, [])) for slot in range(4)}
    for feeding in rounds:
        hidden = together.feed(list(feeding), list(feeding.values()))
        for row, (slot, ids) in enumerate(feeding.items()):
            told[slot] += ids
            expected = model.base_model(torch.tensor([told[slot]])).last_hidden_state[0, -1]
            torch.testing.assert_close(hidden[row], expected, atol=1e-4, rtol=1e-4)
    together.clear(1)
    fresh = together.feed([1], [[9, 9]])
    expected = model.base_model(torch.tensor([[9, 9]])).last_hidden_state[0, -1]
    torch.testing.assert_close(fresh[0], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("temperature", [0.7, 1.5])
@torch.no_grad()
def test_frequencies_are_those_of_the_softmax(model: PreTrainedModel, temperature: float) -> None:
    n = 30_000
    _, sampled = draw(model, n, temperature=temperature, new=1)
    for row, prefix in enumerate(PREFIXES.values()):
        logits = model(torch.tensor([prefix])).logits[0, -1]
        logits[BANNED] = -torch.inf
        expected = (logits / temperature).softmax(-1)
        drawn = torch.tensor([ids[0] if ids else END for ids in sampled.tokens[row]])
        frequency = torch.bincount(drawn, minlength=len(expected)) / n
        assert float((frequency - expected).abs().sum()) / 2 < 0.05


@torch.no_grad()
def test_greedy_lanes_agree(model: PreTrainedModel) -> None:
    _, sampled = draw(model, 3, temperature=0)
    assert all(sequences == [sequences[0]] * 3 for sequences in sampled.tokens)


@torch.no_grad()
def test_an_idle_lane_answers_nothing(model: PreTrainedModel) -> None:
    cache, hidden = fed(model)
    # An end that no policy gives: a lane that is not idle says something.
    sampler = Sampler(cache, model.get_output_embeddings(), end=BANNED[0], banned=[END])
    idle = torch.tensor([[True, False], [False, False], [True, True]])
    sampled = sampler.draw(
        list(PREFIXES),
        hidden[:, None].expand(-1, 2, -1),
        cache.lengths[list(PREFIXES)][:, None].expand(-1, 2),
        temperature=0,
        shares=torch.rand(len(PREFIXES), 2, 4),
        idle=idle,
    )
    assert [[not ids for ids in sequences] for sequences in sampled.tokens] == idle.tolist()


@torch.no_grad()
def test_more_than_the_cache_holds_is_refused(model: PreTrainedModel) -> None:
    cache = SlotModel(model, slots=2, capacity=10)
    cache.feed([0], [list(range(20, 30))])
    with pytest.raises(ContextOverflow, match="a conversation needs 11 tokens, the model holds 10: raise"):
        cache.feed([0], [[9]])


@torch.no_grad()
def test_most_conversations_may_end_with_their_first_token(model: PreTrainedModel) -> None:
    cache, hidden = fed(model)
    steps: list[torch.Tensor] = []

    def head(state: torch.Tensor) -> torch.Tensor:
        logits = model.get_output_embeddings()(state)
        logits[..., END] = -1e9
        if not steps:
            logits[1:, :, END] = 1e9
        steps.append(logits)
        return logits

    sampled = Sampler(cache, head, end=END, banned=BANNED).draw(
        list(PREFIXES),
        hidden[:, None],
        cache.lengths[list(PREFIXES)][:, None],
        temperature=0.0,
        shares=torch.rand(len(PREFIXES), 1, 3),
    )
    assert [len(ids) for (ids,) in sampled.tokens] == [3, 0, 0]
    assert sampled.finished == [[False], [True], [True]]
    assert len(steps) == 3
