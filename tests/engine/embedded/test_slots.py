"""What one conversation has read serves every other that begins alike."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from agentprm_dagster.engine.embedded.backbones import LeanLlama, Reading
from agentprm_dagster.engine.embedded.slots import SlotModel


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens, padding included, every pass of the model read."""
    counts: list[int] = []
    real = LeanLlama.read

    def counted(backbone: LeanLlama, readings: Sequence[Reading]) -> list[torch.Tensor]:
        counts.append(sum(reading.tokens.numel() for reading in readings))
        return real(backbone, readings)

    monkeypatch.setattr(LeanLlama, "read", counted)
    return counts


PARENT = list(range(10, 40))


@torch.no_grad()
def test_a_family_reads_its_common_part_once(model: LlamaForCausalLM, read: list[int]) -> None:
    cache = SlotModel(model, slots=4, capacity=64)
    cache.feed([0, 1, 2], [[*PARENT[:20], 1, 2], [*PARENT, 3, 4], [*PARENT[:20], 5, 6]])
    assert read == [32, 4]
    cache.feed([3], [PARENT])
    assert read[2:] == [1], "the last token is read: what follows it is wanted"


@torch.no_grad()
def test_a_conversation_that_is_over_still_serves(model: LlamaForCausalLM, read: list[int]) -> None:
    cache = SlotModel(model, slots=2, capacity=64)
    cache.feed([0], [PARENT])
    cache.clear(0)
    cache.feed([1], [[*PARENT, 1]])
    cache.feed([0], [[*PARENT[:9], 2, 3]])
    assert read == [30, 1, 2]


@torch.no_grad()
def test_the_memory_grows_with_what_it_holds_and_no_further(model: LlamaForCausalLM) -> None:
    cache = SlotModel(model, slots=2, capacity=10**6)
    small = cache._memory.shape[2]
    long = [10 + i % 30 for i in range(3 * small)]
    cache.feed([0, 1], [long[: small - 1], PARENT])
    assert cache._memory.shape[2] == small
    hidden = cache.feed([0], [long[small - 1 :]])
    assert 3 * small <= cache._memory.shape[2] < 6 * small
    alone = model.model(torch.tensor([long])).last_hidden_state[0, -1]
    torch.testing.assert_close(hidden[0], alone)
    tight = SlotModel(model, slots=1, capacity=small + 1)
    tight.feed([0], [long[: small + 1]])
    assert tight._memory.shape[2] == small + 1


@torch.no_grad()
def test_what_is_kept_may_end_where_there_is_no_room_for_more(model: LlamaForCausalLM) -> None:
    cache = SlotModel(model, slots=2, capacity=len(PARENT) + 4)
    cache.feed([0, 1], [PARENT, PARENT[:9]])
    rows, tokens = torch.tensor([0, 1]), torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    cache.read([cache.segment([0, 1], list(tokens))])
    # Every second token of the scratch; behind those that count lies what was never written.
    scratch = cache.lengths[rows][:, None] + torch.tensor([1, 3, 5, 7])
    cache.keep(rows, scratch, torch.tensor([2, 1]))
    assert cache.lengths.tolist() == [len(PARENT) + 2, 10]
    assert cache._ids[0, len(PARENT) : len(PARENT) + 2].tolist() == [2, 4]
    assert cache._ids[1, 9] == 6


@settings(max_examples=30)
@given(data=st.data())
def test_whatever_began_alike_is_as_if_read_alone(model: LlamaForCausalLM, data: st.DataObject) -> None:
    with torch.no_grad():
        cache = SlotModel(model, slots=5, capacity=64)
        told: dict[int, list[int]] = {}
        for _ in range(data.draw(st.integers(1, 6))):
            slots = data.draw(st.lists(st.integers(0, 4), min_size=1, unique=True))
            new = []
            for slot in slots:
                if slot not in told or data.draw(st.booleans()):
                    cache.clear(slot)
                    told[slot] = []
                # Two letters: beginnings are shared more often than not.
                new.append(data.draw(st.lists(st.integers(0, 1), min_size=1, max_size=8)))
                told[slot] = told[slot] + new[-1]
            hidden = cache.feed(slots, new)
            for row, slot in enumerate(slots):
                expected = model.base_model(torch.tensor([told[slot]])).last_hidden_state[0, -1]
                torch.testing.assert_close(hidden[row], expected, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_only_what_is_read_counts(model: LlamaForCausalLM) -> None:
    slots = SlotModel(model, slots=2, capacity=64)
    slots.feed([0], [[*range(10)]])
    slots.feed([1], [[*range(8), 20, 21, 22]])
    assert slots.tokens_read == 10 + 3, "eight were taken over"
    slots.feed([0, 1], [[1], [2, 3]])
    assert slots.tokens_read == 16
