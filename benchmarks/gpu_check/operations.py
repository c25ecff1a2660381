"""Operations of a training that are counted as useful, on Llamas.

Of every token read, two a weight of the backbone's products forward and four backward; of every pair of tokens of which
one sees the other, attention's; of every token that is learnt, the head's. What is recomputed, padding, the
optimizer's and, in Online DPO, the drawing of answers are not.
"""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from agentprm_dagster.engine.embedded.token_tree import TokenTree
from benchmarks.limits import token_flops


def of_reading(model: PreTrainedModel, tokens: float, pairs: float) -> float:
    """Forward, of the backbone on so many tokens, of which so many pairs see each other."""
    width = model.config.num_attention_heads * model.config.head_dim
    return token_flops(model) * tokens + 4 * model.config.num_hidden_layers * width * pairs


def of_trees(model: PreTrainedModel, trees: Sequence[TokenTree]) -> float:
    """Forward, of the backbone on token trees."""
    pairs = 0.0
    for tree in trees:
        tree.fill(sees := torch.zeros(len(tree), len(tree), dtype=torch.bool))
        pairs += float(sees.sum())
    return of_reading(model, sum(map(len, trees)), pairs)


def of_heads(model: PreTrainedModel, tokens: float) -> float:
    """Forward, of the language head at so many tokens."""
    return 2.0 * model.config.vocab_size * model.config.hidden_size * tokens
