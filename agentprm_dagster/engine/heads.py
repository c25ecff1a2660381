"""The language head as a model's own forward applies it: bias, scale and soft cap included.

The backbone is run apart from the head, so that the vocabulary is read at the tokens that matter alone. What a head
does besides one product differs between architectures, and stands in their forward: it is run here on hidden states
that are there already.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import LlamaForCausalLM, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from agentprm_dagster.engine.settings import MOST_LOGITS

Head = Callable[[torch.Tensor], torch.Tensor]
"""From hidden states (..., H) to logits (..., V)."""


@dataclass
class _Read(BaseModelOutputWithPastAndCrossAttentions):
    """A backbone's hidden states, and None for all else that a forward may ask it for."""

    router_logits: None = None


class _Given(torch.nn.Module):
    """Stands in for a backbone; what it would compute is there already."""

    def forward(self, *_: object, inputs_embeds: torch.Tensor, **__: object) -> _Read:
        return _Read(last_hidden_state=inputs_embeds)


def language_head(model: PreTrainedModel) -> Head:
    """The head of a causal language model; its weights are read where they are, so that training shows at once."""
    # A model that is spread over processes has a class of its own, which is derived from transformers'.
    kind = next(each for each in type(model).__mro__ if not each.__name__.startswith("FSDP"))
    if kind is LlamaForCausalLM:
        head: torch.nn.Module = model.get_output_embeddings()
        return head
    without_backbone: Any = object.__new__(kind)
    without_backbone.__dict__ = dict(vars(model))
    without_backbone._modules = {**model._modules, model.base_model_prefix: _Given()}

    def read(hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = without_backbone(inputs_embeds=hidden.reshape(1, -1, hidden.shape[-1])).logits
        return logits.reshape(*hidden.shape[:-1], -1)

    return read


def chosen_log_probabilities(model: PreTrainedModel, hidden: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """log p (N,), in nats, of the tokens `ids` (N,) behind a model's hidden states (N, H)."""
    head = language_head(model)

    def chosen(hidden: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return head(hidden).float().log_softmax(-1).gather(-1, ids[:, None]).squeeze(-1)

    return in_parts(chosen, model.config.vocab_size, hidden, ids.to(hidden.device))


def in_parts(function: Callable[..., torch.Tensor], vocabulary: int, *tensors: torch.Tensor) -> torch.Tensor:
    """function(*tensors), which computes logits of as many tokens as are the first dimension (N) of all tensors.

    Where they are many, some at a time: their logits are then not kept for the backward pass, but computed again.
    """
    rows = max(MOST_LOGITS // vocabulary, 1)
    if len(tensors[0]) <= rows:
        return function(*tensors)
    parts = zip(*(tensor.split(rows) for tensor in tensors), strict=True)
    return torch.cat([checkpoint(function, *part, use_reentrant=False) for part in parts])
