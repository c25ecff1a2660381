"""What is made of a server's refusals, and of answers that are not what vLLM gives."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from agentprm_dagster.engine.base import Engine, Limits
from agentprm_dagster.engine.vllm import client, kind
from agentprm_dagster.engine.vllm.server import VllmError
from vllm_stub import Fault, Stub, served_by, stub

LIMITS = Limits(end=5, max_new_tokens=3)
GOOD: dict[str, Any] = {
    "choices": [
        {"index": 1, "token_ids": [8, 5], "logprobs": {"token_logprobs": [-1.0, -2.0]}},
        {"index": 0, "token_ids": [7, 7, 7], "logprobs": {"token_logprobs": [-0.5, -0.25, -0.25]}},
    ]
}


class Asked:
    """An engine whose server answers with faults first."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder
        self.server: Stub | None = None

    def engine(self, *faults: Fault, retries: int = 2) -> Engine:
        self.server = self._stack.enter_context(stub(self._folder, faults=faults))
        settings = kind.Settings(**served_by(self.server), retries=retries)
        model = kind.load(self._folder, "policy", settings)
        self._stack.callback(model.close)
        engine = kind.open(model, settings, conversations=1)
        engine.begin(0, [7, 8, 9])
        return engine

    def named(self, answer: dict[str, Any]) -> str:
        """An answer of the model that is asked, as text."""
        with stub(self._folder) as named:
            return json.dumps({"model": named.name, **answer})


@pytest.fixture
def asked(policy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    monkeypatch.setattr(client, "_FIRST_PAUSE", 0.0)
    with ExitStack() as stack:
        yield Asked(stack, policy_folder)


def sample(engine: Engine) -> list[list[list[int]]]:
    return engine.sample([0], 2, LIMITS, temperature=1.0, seeds=[1]).tokens


def test_an_answer_is_read(asked: Asked) -> None:
    engine = asked.engine(asked.named({**GOOD, "usage": {"prompt_tokens_details": {"cached_tokens": 2}}}))
    sampled = engine.sample([0], 2, LIMITS, temperature=1.0, seeds=[1])
    assert (sampled.tokens, sampled.finished) == ([[[7, 7, 7], [8]]], [[False, True]])
    assert sampled.log_probabilities.tolist() == [[-1.0, -3.0]]
    assert engine.tokens_read == 1, "two of three were cached"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_asked_again(asked: Asked, status: int) -> None:
    calm, tried = asked.engine(), asked.engine(status, status)
    assert sample(tried) == sample(calm)


def test_what_does_not_pass_is_told(asked: Asked) -> None:
    with pytest.raises(VllmError, match=r"no answer from http://127.0.0.1:\d+ \(2 retries\): HTTPStatusError: .*503"):
        sample(asked.engine(503, 503, 503))


def test_a_refusal_is_told_at_once(asked: Asked) -> None:
    with pytest.raises(VllmError, match=r"/v1/completions refused the request \(HTTP 400\): .*on demand"):
        sample(asked.engine(400))
    assert asked.server and not asked.server.asked, "not asked again"


def without(path: str) -> dict[str, Any]:
    """A good answer without one of its keys."""
    answer = json.loads(json.dumps(GOOD))
    *before, last = path.split(".")
    place = answer
    for key in before:
        place = place[int(key)] if key.isdigit() else place[key]
    del place[last]
    return answer


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (without("choices"), "choices: Field required"),
        (without("choices.0.token_ids"), "choices.0.token_ids: Field required"),
        (without("choices.1.logprobs"), "choices.1.logprobs: Field required"),
        (without("choices.1.logprobs.token_logprobs"), "choices.1.logprobs.token_logprobs: Field required"),
        ({"choices": GOOD["choices"][:1]}, r"expected answers 0 to 1 to a conversation, got \[1\]"),
        ({"choices": GOOD["choices"][:1] * 2}, r"expected answers 0 to 1 to a conversation, got \[1, 1\]"),
        (
            {"choices": [GOOD["choices"][0], {**GOOD["choices"][1], "token_ids": [7, 7]}]},
            "expected at most 3 tokens of an answer and a log-probability of each, got 2 tokens and 3 log-prob",
        ),
        (
            {"choices": [{"index": i, "token_ids": [7] * 4, "logprobs": {"token_logprobs": [0] * 4}} for i in (0, 1)]},
            "expected at most 3 tokens .* got 4 tokens",
        ),
        (
            {"choices": [{**each, "logprobs": {"token_logprobs": [float("nan")] * 3}} for each in GOOD["choices"]]},
            "token_logprobs.0: Input should be a finite number, got nan",
        ),
        (
            {"choices": [{**each, "token_ids": ["seven"]} for each in GOOD["choices"]]},
            "token_ids.0: Input should be a valid integer.* got 'seven'",
        ),
    ],
)
def test_what_vllm_would_not_answer_is_an_error_in_words(asked: Asked, answer: dict[str, Any], wrong: str) -> None:
    with pytest.raises(VllmError, match=wrong):
        sample(asked.engine(asked.named(answer)))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("<html>", "answered something else than vLLM does: the answer: Invalid JSON"),
        ("[]", "the answer: Input should be an object, got "),
        (json.dumps(GOOD), "model: Field required"),
        (
            json.dumps({"model": "policy-before", **GOOD}),
            "expected answers of policy-.*, got .* policy-before",
        ),
    ],
)
def test_what_is_no_answer_of_these_weights_is_an_error(asked: Asked, text: str, wrong: str) -> None:
    with pytest.raises(VllmError, match=wrong):
        sample(asked.engine(text))


@pytest.mark.parametrize(
    ("log_p", "wrong"),
    [
        ([None, {"8": {"logprob": -1}}], "expected log-probabilities of 4 tokens of the prompt, got 2"),
        ([None, None, None, None], "expected the log-probability of token 8 of the prompt, got None"),
        ([None, *[{"8": {"logprob": -1}}] * 3], "expected the log-probability of token 9 of the prompt, got "),
        ([None, *[{"8": {}}] * 3], "choices.0.prompt_logprobs.1.8.logprob: Field required"),
        ([None, *[{"eight": {"logprob": 0}}] * 3], "prompt_logprobs.1.eight.*: Input should be a valid integer"),
        ("none", "choices.0.prompt_logprobs: Input should be a valid .*, got 'none'"),
    ],
)
def test_a_prompt_that_is_not_read_whole_is_an_error(asked: Asked, log_p: Any, wrong: str) -> None:
    engine = asked.engine(asked.named({"choices": [{"prompt_logprobs": log_p}]}))
    with pytest.raises(VllmError, match=wrong):
        engine.log_probs([0], [[[6]]])


@pytest.mark.parametrize("data", [[], [{"data": []}], [{"data": [0.1, 0.2]}], [{"data": [[0.1], [0.2]]}], [{}]])
def test_a_prm_gives_one_value(prm_folder: Path, monkeypatch: pytest.MonkeyPatch, data: Any) -> None:
    with stub(prm_folder, "prm") as server:
        server.faults.append(json.dumps({"model": server.name, "data": data}))
        settings = kind.Settings(**served_by(server))
        model = kind.load(prm_folder, "prm", settings)
        engine = kind.open(model, settings, conversations=1)
        engine.begin(0, [7, 8])
        with pytest.raises(VllmError, match=r"/pooling answered something else than vLLM does: data"):
            engine.score([0], [[[6]]])
        model.close()


def test_stale_weights_stop_the_stage(policy_folder: Path, taught_folder: Path) -> None:
    with stub(taught_folder) as other, pytest.raises(VllmError, match=r"to serve policy-\w+, .* it serves policy-\w+"):
        kind.load(policy_folder, "policy", kind.Settings(**served_by(other)))


def test_a_server_says_its_version(policy_folder: Path) -> None:
    with stub(policy_folder) as server:
        assert kind.versions(kind.Settings(**served_by(server))) == {"vllm": "0.0.stub"}
    with pytest.raises(VllmError, match=r"expected the version of vLLM from http://.*/version: ConnectError"):
        kind.versions(kind.Settings(**served_by(server)))
