"""Caches and sequences of models whose layers look back a few tokens only, or change their scores."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from agentprm_dagster.agents.best_of_n import PrmJudge
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.architectures import ArchitectureError
from agentprm_dagster.engine.chat import TRIAL_START, TRIAL_TURNS, Chat
from agentprm_dagster.engine.embedded.attention import GROUPED, use_grouped_attention
from agentprm_dagster.engine.embedded.engine import EmbeddedEngine
from agentprm_dagster.engine.embedded.slots import SlotModel
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.records import Observation, State
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.training.candidates import CandidateSampler
from pretrained import byte_tokenizer, checkpoint, random_model

LOOKING_BACK = ["mistral", "qwen2", "gemma2", "gemma3_text", "gpt_oss"]
WINDOW = 5


@pytest.mark.parametrize("model_type", LOOKING_BACK)
@torch.no_grad()
def test_conversations_that_grow_token_by_token_and_in_pieces(model_type: str) -> None:
    model = random_model(model_type, sliding_window=WINDOW)
    cache = SlotModel(model, slots=3, capacity=64)
    told: list[list[int]] = [[] for _ in range(3)]
    for lengths in ((9, 1, 3), (1, 12, 1), (4, 1, 2), (1, 1, 1)):
        new = [torch.randint(300, (length,)).tolist() for length in lengths]
        hidden = cache.feed(range(3), new)
        for slot, ids in enumerate(new):
            told[slot] += ids
            expected = model.base_model(torch.tensor([told[slot]])).last_hidden_state[0, -1]
            torch.testing.assert_close(hidden[slot], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("model_type", LOOKING_BACK)
@torch.no_grad()
def test_answers_drawn_along_an_episode_are_those_of_transformers(model_type: str) -> None:
    model = random_model(model_type, sliding_window=WINDOW)
    chat, ids = Chat(byte_tokenizer(), WORDING), torch.randint(300, (40,)).tolist()
    use_grouped_attention(model)
    nobody: Any = SimpleNamespace(episode_id="played by nobody")
    prefixes = [
        EpisodeTokens(ids, [(12, 13), (25, 26), (40, 41)], nobody, [0, 1, 2]),
        EpisodeTokens(ids[5:31], [(25, 26)], nobody, [0]),
    ]
    sampler = CandidateSampler(model, chat, longest=40, rows=2, states=3, n=2, new=6)
    drawn = sampler.draw(prefixes, temperature=0.0, seed=0)
    assert [candidate.state for candidate in drawn] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert {candidate.draws for candidate in drawn} == {2}
    banned = chat.never_drawn(model.config.vocab_size)
    for candidate in drawn:
        prefix, state = candidate.state
        row = prefixes[prefix].ids[: prefixes[prefix].states[state]]
        for token in candidate.ids[:-1]:
            logits = model(torch.tensor([row])).logits[0, -1]
            logits[banned] = -torch.inf
            assert int(logits.argmax()) == token
            row = [*row, token]


@pytest.mark.parametrize("model_type", LOOKING_BACK)
@torch.no_grad()
def test_a_judge_reads_several_answers_of_one_conversation(model_type: str, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, model_type, sliding_window=WINDOW)
    prm, chat = checkpoints.prm_from_policy(folder, seed=0).eval(), Chat(checkpoints.load_tokenizer(folder), WORDING)
    judge = PrmJudge(EmbeddedEngine(prm, conversations=2), chat, "append")
    answers = [chat.answer(text) for text in ("REASON: I look.\nACTION: look", "no", "REASON: Why not?")]
    turns = [TRIAL_TURNS[:1], TRIAL_TURNS[:2]]
    for slot, each in enumerate(turns):
        judge.dialogues.begin(slot, State("e", TRIAL_START, each, Observation("", (), reward=0.0, done=False)))
    logits = judge.engine.score([0, 1], [answers, answers])
    for slot, each in enumerate(turns):
        rows = [chat.state(TRIAL_START, each) + answer for answer in answers]
        expected = [prm.score(prm.base_model(torch.tensor([row])).last_hidden_state[0, -1]) for row in rows]
        torch.testing.assert_close(logits[slot], torch.cat(expected), atol=1e-5, rtol=1e-4)


def test_soft_caps_and_sinks_are_left_to_transformers() -> None:
    for model_type, attention in {"gemma2": "eager", "gpt_oss": "eager", "llama": GROUPED, "stablelm": "sdpa"}.items():
        model = random_model(model_type)
        use_grouped_attention(model)
        assert model.config._attn_implementation == attention
    capped = random_model("gemma2")
    capped.config._attn_implementation_internal = GROUPED
    with pytest.raises(ArchitectureError, match="Gemma2Attention attends with softcap, which grouped"):
        capped(torch.tensor([[1, 2]]))


def test_keys_of_several_sizes_are_refused() -> None:
    model = random_model("llama")
    attention = model.base_model.layers[1].self_attn
    attention.v_proj = torch.nn.Linear(64, 64, bias=False)
    model.config.hidden_act = "gelu"  # transformers' own pass
    with pytest.raises(ArchitectureError, match="LlamaModel keeps keys and values of several sizes"):
        SlotModel(model, slots=1, capacity=8)


def test_learnt_positions_are_never_asked_for_beyond_the_last() -> None:
    model = random_model("gpt2", max_position_embeddings=20)
    cache = SlotModel(model, slots=2, capacity=20)
    with torch.no_grad():
        cache.feed([0, 1], [[3] * 18, [4]])
        hidden = cache.feed([0, 1], [[5, 6], [7, 8, 9]])  # padding would stand at position 20
        expected = model.base_model(torch.tensor([[3] * 18 + [5, 6]])).last_hidden_state[0, -1]
        torch.testing.assert_close(hidden[0], expected, atol=1e-5, rtol=1e-5)
    longer = SlotModel(model, slots=1, capacity=40)
    with torch.no_grad(), pytest.raises(ArchitectureError, match="21 tokens, padding included, is longer than the 20"):
        longer.feed([0], [[3] * 21])
