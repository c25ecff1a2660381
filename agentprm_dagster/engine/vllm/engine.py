"""A model behind vLLM as an engine: one request a conversation; the server's prefix cache remembers what was read."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch

from agentprm_dagster.engine.base import ContextOverflow, Limits, Sampled, WrongRoleError
from agentprm_dagster.engine.vllm.answers import Completions, OfModel, Pooled, PromptLogprobs
from agentprm_dagster.engine.vllm.served import Served
from agentprm_dagster.engine.vllm.server import VllmError
from agentprm_dagster.engine.whole_conversations import WholeConversations, by_conversation

_NEVER = -100.0
"""Added to the logits of tokens that are never drawn: the most that vLLM allows."""

T = TypeVar("T", bound=OfModel)


class VllmEngine(WholeConversations):
    """See `engine.base.Engine`."""

    def __init__(self, model: Served) -> None:
        super().__init__()
        self._model = model
        self.is_prm = model.role == "prm"
        self.vocabulary = model.vocabulary
        self.tokens_read = 0

    def sample(
        self, conversations: Sequence[int], n: int, limits: Limits, *, temperature: float, seeds: Sequence[int]
    ) -> Sampled:
        """See `engine.base.Engine`."""
        self._require(prm=False)
        different = n if temperature else 1  # vLLM refuses to give the greedy answer twice
        asked = {
            "n": different,
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
        completions = self._ask("/v1/completions", prompts, bodies, Completions, limits.max_new_tokens)
        drawn = [_answers(each, different, limits) * (n // different) for each in completions]
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
        rows = [[*prompt, *ids] for prompt, ids in zip(*self._behind(conversations, continuations), strict=True)]
        bodies = [{"input": ids, "task": "classify", "use_activation": False} for ids in rows]
        values = [answer.data[0].data[0] for answer in self._ask("/pooling", rows, bodies, Pooled)]
        return torch.tensor(by_conversation(values, len(continuations[0])))

    def log_probs(self, conversations: Sequence[int], continuations: Sequence[Sequence[Sequence[int]]]) -> torch.Tensor:
        """See `engine.base.Engine`."""
        self._require(prm=False)
        prompts, answers = self._behind(conversations, continuations)
        rows = [[*prompt, *ids] for prompt, ids in zip(prompts, answers, strict=True)]
        bodies = [{"prompt": ids, "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0} for ids in rows]
        # A token is always drawn. Beside an adapter vLLM 0.32 cannot compute those of several prompts in one batch.
        size = 1 if self._model.adapter else max(len(rows), 1)
        read = [
            answer
            for first in range(0, len(rows), size)
            for answer in self._ask(
                "/v1/completions", rows[first : first + size], bodies[first : first + size], PromptLogprobs, 1
            )
        ]
        sums = [
            sum(_of_prompt(answer, ids)[len(prompt) :]) for answer, ids, prompt in zip(read, rows, prompts, strict=True)
        ]
        return torch.tensor(by_conversation(sums, len(continuations[0])))

    def _ask(
        self,
        path: str,
        rows: Sequence[Sequence[int]],
        bodies: Sequence[Mapping[str, Any]],
        shape: type[T],
        new: int = 0,
    ) -> list[T]:
        """The answers to requests about these rows of tokens, which `new` more may follow."""
        longest = max(map(len, rows)) + new
        if longest > self._model.context:
            raise ContextOverflow(longest, self._model.context)
        answers = self._model.ask(path, bodies, shape)
        self.tokens_read += sum(map(len, rows)) - sum(answer.cached for answer in answers)
        return answers

    def _require(self, *, prm: bool) -> None:
        if self.is_prm != prm:
            raise WrongRoleError(self._model.architecture, is_prm=self.is_prm)


def _answers(answer: Completions, n: int, limits: Limits) -> list[tuple[list[int], bool, float]]:
    """Tokens without the end token, whether each answer ended by itself, and its log-probability."""
    choices = sorted(answer.choices, key=lambda choice: choice.index)
    if [choice.index for choice in choices] != list(range(n)):
        raise VllmError(f"expected answers 0 to {n - 1} to a conversation, got {[choice.index for choice in choices]}")
    drawn = []
    for choice in choices:
        ids, log_p = choice.token_ids, choice.logprobs.token_logprobs
        if not len(ids) == len(log_p) <= limits.max_new_tokens:
            raise VllmError(
                f"expected at most {limits.max_new_tokens} tokens of an answer and a log-probability of each, got "
                f"{len(ids)} tokens and {len(log_p)} log-probabilities"
            )
        ended = bool(ids) and ids[-1] == limits.end
        drawn.append((ids[:-1] if ended else ids, ended, sum(log_p)))
    return drawn


def _of_prompt(answer: PromptLogprobs, ids: Sequence[int]) -> list[float]:
    """The log-probability of each token of the prompt; 0 of the first, which nothing stands before."""
    (choice,) = answer.choices
    by_token = choice.prompt_logprobs
    if len(by_token) != len(ids):
        raise VllmError(f"expected log-probabilities of {len(ids)} tokens of the prompt, got {len(by_token)}")
    log_p = [0.0]
    for token, each in zip(ids[1:], by_token[1:], strict=True):
        if each is None or token not in each:
            raise VllmError(f"expected the log-probability of token {token} of the prompt, got {each}")
        log_p.append(each[token].logprob)
    return log_p
