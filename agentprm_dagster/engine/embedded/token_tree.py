"""Several continuations of one conversation, read in one pass.

A tree of token segments: each continues another segment from some length on. Packed into one row with a mask under
which a token sees its own segment up to itself and the part of each ancestor that it continues, and with positions
counted along the path from the root, it gives the same numbers as reading every path for itself, without reading the
common part again. Candidates of one state, or an episode and its branches, are such trees.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch.distributed.fsdp import FSDPModule
from torch.nn.functional import pad
from transformers import PreTrainedModel

from agentprm_dagster.engine.architectures import require_length
from agentprm_dagster.engine.embedded.attention import layer_masks
from agentprm_dagster.engine.embedded.lean_layers import SHAPE_STEP

ROOT = -1

_ALIKE = 0.8
"""Least length of a tree, beside the longest it is read with: more parts pad less, and start more operations."""


@dataclass(slots=True)
class TokenTree:
    """Token segments in the order they were added."""

    ids: list[int] = field(default_factory=list)
    """All tokens, segment after segment."""
    positions: list[int] = field(default_factory=list)
    """Each token's distance from the root."""
    _spans: list[tuple[int, int]] = field(default_factory=list)
    _seen: list[list[tuple[int, int]]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, ids: Sequence[int], *, parent: int = ROOT, length: int = 0) -> int:
        """Adds a segment that continues the path to `parent` after its first `length` tokens; its number.

        `length` counts along the path from the root. ValueError where the parent does not reach that far.
        """
        start = len(self.ids)
        seen = [] if parent == ROOT else self._path(parent, length)
        if sum(stop - first for first, stop in seen) != length:
            raise ValueError(f"segment {parent} ends before length {length}: nothing there to continue")
        self.ids += ids
        self.positions += range(length, length + len(ids))
        self._spans.append((start, start + len(ids)))
        self._seen.append(seen)
        return len(self._spans) - 1

    def _path(self, segment: int, length: int) -> list[tuple[int, int]]:
        """The stretches of `ids` that make up the first `length` tokens of the path to a segment."""
        path = []
        for first, stop in [*self._seen[segment], self._spans[segment]]:
            path.append((first, min(stop, first + length)))
            length -= path[-1][1] - first
        return [(first, stop) for first, stop in path if stop > first]

    def index(self, segment: int, offset: int) -> int:
        """Where in `ids` the token `offset` of a segment stands."""
        return self._spans[segment][0] + offset

    def place(self, segment: int, position: int) -> int:
        """Where in `ids` the token at a position of the path to a segment stands, counted from the root."""
        _, stop = self._path(segment, position + 1)[-1]
        return stop - 1

    @property
    def is_path(self) -> bool:
        """Whether it is one conversation, in which every token sees all before it."""
        return len(self._spans) == 1

    def fill(self, mask: torch.Tensor) -> None:
        """Sets to True what each token sees, in a False mask (T, T) with T at least the tree's length."""
        for (start, stop), seen in zip(self._spans, self._seen, strict=True):
            mask[start:stop, start:stop] = torch.ones(stop - start, stop - start, dtype=torch.bool).tril()
            for first, last in seen:
                mask[start:stop, first:last] = True


def read_trees(model: PreTrainedModel, trees: Sequence[TokenTree]) -> torch.Tensor:
    """Hidden states (B, T, H) of a model's backbone over packed trees, padded to the longest or a little more.

    Trees of about the same length are read together: attention to padding costs as much as any other. Where weights are
    spread over processes all are read in one pass, as each pass brings them together in all processes at once.
    """
    spread = isinstance(model, FSDPModule)
    parts = [list(range(len(trees)))] if spread else list(alike(list(map(len, trees))))
    longest = _padded(max(map(len, trees)))
    order = torch.tensor([i for part in parts for i in part]).argsort().to(model.device)  # a GPU is not waited for
    hidden = [_read_padded(model, [trees[i] for i in part]) for part in parts]
    together = torch.cat([pad(part, (0, 0, 0, longest - part.shape[1])) for part in hidden])
    return together[order]


def alike(lengths: Sequence[int]) -> Iterator[list[int]]:
    """The places of all lengths in parts, longest first; in each all are at least `_ALIKE` of its longest."""
    part: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if part and lengths[i] < _ALIKE * lengths[part[0]]:
            yield part
            part = []
        part.append(i)
    yield part


def _padded(length: int) -> int:
    """Few different shapes: see SHAPE_STEP."""
    return -(-length // SHAPE_STEP) * SHAPE_STEP


def _read_padded(model: PreTrainedModel, trees: Sequence[TokenTree]) -> torch.Tensor:
    longest = _padded(max(map(len, trees)))
    require_length(model.config, 1 + max(max(tree.positions) for tree in trees))
    ids = torch.zeros(len(trees), longest, dtype=torch.long)
    for row, tree in enumerate(trees):
        ids[row, : len(tree)] = torch.tensor(tree.ids)
    ids = ids.to(model.device)
    if all(tree.is_path for tree in trees):
        # Padding stands at the ends, where no token looks: no mask is needed.
        path: torch.Tensor = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        return path
    positions = torch.zeros(len(trees), longest, dtype=torch.long)
    mask = torch.zeros(len(trees), longest, longest, dtype=torch.bool)
    for row, tree in enumerate(trees):
        positions[row, : len(tree)] = torch.tensor(tree.positions)
        tree.fill(mask[row])
    # Padding sees itself, so that no row of the softmax is empty.
    mask |= torch.eye(longest, dtype=torch.bool)
    positions, mask = positions.to(model.device), mask.to(model.device)
    masks = layer_masks(model.config, mask, positions, positions, model.dtype)
    out = model.base_model(input_ids=ids, position_ids=positions, attention_mask=masks, use_cache=False)
    hidden: torch.Tensor = out.last_hidden_state
    return hidden
