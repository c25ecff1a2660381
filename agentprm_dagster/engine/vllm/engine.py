"""A model behind vLLM as an engine: one request a conversation; the server's prefix cache remembers what was read."""

from collections.abc import Sequence
from typing import Any

import torch

from agentprm_dagster.engine.base import ContextOverflow, Limits, Sampled, WrongRoleError
from agentprm_dagster.engine.vllm.served import Served
from agentprm_dagster.engine.vllm.server import VllmError
from agentprm_dagster.engine.whole_conversations import WholeConversations, by_conversation

_NEVER = -100.0
"""Added to the logits of tokens that are never drawn."""


class VllmEngine(WholeConversations):
    """See `engine.base.Engine`."""

    def __init__(self, model: Served) -> None:
        super().__init__()
        self._model = model
        self.is_prm = model.role == "prm"
        self.vocabulary: int = model.config["vocab_size"]
        self.tokens_read = 0

    def sample(
        self, conversations: Sequence[int], n: int, limits: Limits, *, temperature: float, seeds: Sequence[int]
    ) -> Sampled:
        """See `engine.base.Engine`."""
        self._require(prm=False)
        asked = {
            "n": n,
            "temperature": temperature,
            "max_tokens": limits.max_new_tokens,
            "stop_token_ids": [limits.end],
            "ignore_eos": True,
            "logit_bias": {str(token): _NEVER for token in limits.banned if token != limits.end},
            "logprobs": 0,
            "return_token_ids": True,
            "skip_special_tokens": False,
        }
        prompts = [self._ids[each] for each in conversations]
        bodies = [{**asked, "prompt": ids, "seed": seed} for ids, seed in zip(prompts, seeds, strict=True)]
        drawn = [_answers(answer, n, limits) for answer in self._ask("/v1/completions", bodies, limits.max_new_tokens)]
        tokens = [[ids for ids, _, _ in each] for each in drawn]
        self._continuations.update(zip(conversations, tokens, strict=True))
        return Sampled(
            tokens,
            [[ended for _, ended, _ in each] for each in drawn],
            torch.tensor([[log_p for _, _, log_p in each] for each in drawn]),
        )

    def score(self, conversations: Sequence[int], continuations: Sequence[Sequence[Sequence[int]]]) -> torch.Tensor:
        """See `engine.base.Engine`."""
        self._require(prm=True)
        prompts, answers = self._behind(conversations, continuations)
        bodies = [
            {"prompt": [*prompt, *ids], "task": "classify", "use_activation": False}
            for prompt, ids in zip(prompts, answers, strict=True)
        ]
        values = [_value(answer) for answer in self._ask("/pooling", bodies)]
        return torch.tensor(by_conversation(values, len(continuations[0])))

    def log_probs(self, conversations: Sequence[int], continuations: Sequence[Sequence[Sequence[int]]]) -> torch.Tensor:
        """See `engine.base.Engine`."""
        self._require(prm=False)
        prompts, answers = self._behind(conversations, continuations)
        asked = {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0, "return_token_ids": True}
        bodies = [{**asked, "prompt": [*prompt, *ids]} for prompt, ids in zip(prompts, answers, strict=True)]
        sums = [
            sum(_of_prompt(answer, body["prompt"])[len(prompt) :])
            for answer, body, prompt in zip(self._ask("/v1/completions", bodies, 1), bodies, prompts, strict=True)
        ]
        return torch.tensor(by_conversation(sums, len(continuations[0])))

    def _ask(self, path: str, bodies: list[dict[str, Any]], new: int = 0) -> list[dict[str, Any]]:
        """The answers to requests by token ids."""
        context = int(self._model.config.get("max_position_embeddings") or 2**31)
        longest = max(len(body["prompt"]) for body in bodies) + new
        if longest > context:
            raise ContextOverflow(longest, context)
        name = "input" if path == "/pooling" else "prompt"
        sent = [{**body, "model": self._model.name, name: body["prompt"]} for body in bodies]
        if name == "input":
            for each in sent:
                del each["prompt"]
        answers = self._model.client.ask(path, sent)
        for answer, body in zip(answers, bodies, strict=True):
            if answer.get("model") not in (None, self._model.name):
                raise VllmError(f"expected answers of {self._model.name}, got those of {answer['model']}")
            self.tokens_read += len(body["prompt"]) - _cached(answer)
        return answers

    def _require(self, *, prm: bool) -> None:
        if self.is_prm != prm:
            raise WrongRoleError(self._model.name, is_prm=self.is_prm)


def _answers(answer: dict[str, Any], n: int, limits: Limits) -> list[tuple[list[int], bool, float]]:
    """Tokens without the end token, whether each answer ended by itself, and its log-probability."""
    choices = sorted(answer["choices"], key=lambda choice: int(choice["index"]))
    if len(choices) != n:
        raise VllmError(f"expected {n} answers to a conversation, got {len(choices)}")
    drawn = []
    for choice in choices:
        ids, log_p = choice["token_ids"], choice["logprobs"]["token_logprobs"]
        if len(ids) != len(log_p):
            raise VllmError(f"expected a log-probability for each of {len(ids)} tokens, got {len(log_p)}")
        ended = bool(ids) and ids[-1] == limits.end
        drawn.append((ids[:-1] if ended else ids, ended, float(sum(log_p))))
    return drawn


def _of_prompt(answer: dict[str, Any], ids: Sequence[int]) -> list[float]:
    """The log-probability of each token of the prompt; 0 of the first, which nothing stands before."""
    (choice,) = answer["choices"]
    told = choice["prompt_logprobs"]
    if len(told) != len(ids):
        raise VllmError(f"expected log-probabilities of {len(ids)} tokens of the prompt, got {len(told)}")
    return [0.0, *(float(each[str(token)]["logprob"]) for token, each in zip(ids[1:], told[1:], strict=True))]


def _value(answer: dict[str, Any]) -> float:
    """The logit at the last token."""
    (data,) = answer["data"]
    value = torch.tensor(data["data"]).flatten()
    if len(value) != 1:
        raise VllmError(f"expected one value of a conversation from the PRM, got {len(value)}")
    return float(value)


def _cached(answer: dict[str, Any]) -> int:
    details = (answer.get("usage") or {}).get("prompt_tokens_details") or {}
    return int(details.get("cached_tokens") or 0)
