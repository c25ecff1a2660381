"""An engine that has played is held against transformers on its own answers."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import parrot
from agentprm_dagster.engine import checkpoints, difference
from agentprm_dagster.engine.base import Engine
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.difference import engine_difference
from agentprm_dagster.engine.embedded import kind as embedded
from agentprm_dagster.engine.vllm import kind as vllm
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from vllm_stub import served_by, stub


@pytest.fixture
def chat(taught_folder: Path) -> Chat:
    return Chat(checkpoints.load_tokenizer(taught_folder), WORDING)


@pytest.mark.parametrize("dialogue", ["append", "restated"])
def test_engines_that_compute_the_same_agree(
    taught_folder: Path, chat: Chat, demonstrations: list[Episode], dialogue: Format
) -> None:
    with stub(taught_folder) as server:
        settings = vllm.Settings(**served_by(server))
        model = vllm.load(taught_folder, "policy", settings)
        engine = vllm.open(model, settings, conversations=16)
        found = engine_difference(engine, taught_folder, chat, demonstrations, dialogue, seed=0)
        model.close()
    assert 0 < found.nats < 1e-4
    assert found.tolerance == 0.02
    assert len(server.asked) == 16


def test_the_difference_is_that_of_an_answer_a_token(
    taught_folder: Path, chat: Chat, demonstrations: list[Episode]
) -> None:
    class Shifted(parrot.Parrot):
        """Says of one answer that it is likelier than it is."""

        def log_probs(
            self, conversations: Sequence[int], continuations: Sequence[Sequence[Sequence[int]]]
        ) -> torch.Tensor:
            likelier = [[0.5 * len(ids) * (i == 3) for ids in each] for i, each in enumerate(continuations)]
            return exact.log_probs(conversations, continuations) + torch.tensor(likelier)

        def begin(self, conversation: int, ids: Sequence[int]) -> None:
            exact.begin(conversation, ids)

    settings = embedded.Settings()
    exact = embedded.open(embedded.load(taught_folder, "policy", settings), settings, conversations=16)
    shifted: Engine = Shifted(exact.vocabulary, [])
    found = engine_difference(shifted, taught_folder, chat, demonstrations, "append", seed=1)
    assert found.nats == pytest.approx(0.5, abs=1e-4)


def test_few_answers_are_all_compared_and_halves_are_told_apart_less(
    policy_folder: Path, chat: Chat, demonstrations: list[Episode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = checkpoints.load_policy(policy_folder, dtype=torch.bfloat16)
    checkpoints.save(model, checkpoints.load_tokenizer(policy_folder), tmp_path)
    monkeypatch.setattr(difference, "ANSWERS", 1000)
    exact = embedded.open(embedded.load(tmp_path, "policy", embedded.Settings()), None, conversations=1000)
    found = engine_difference(exact, tmp_path, chat, demonstrations[:1], "append", seed=0)
    assert 1e-5 < found.nats < found.tolerance == 0.1
