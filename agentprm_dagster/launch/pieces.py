"""A part of a batch as one process reads it: in pieces, whose gradients are added up.

Each term of the loss is divided by its items in the whole batch (`algorithm.terms`), so that what is learnt does not
depend on how the batch is cut. The activations of one piece at a time lie in memory.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.terms import Items, Terms, add_items, items_of, loss_of
from agentprm_dagster.launch.device import precision
from agentprm_dagster.launch.sharding import reading

Numbers = dict[str, float]


class Piece(NamedTuple):
    """What is read of a part in one forward and backward pass."""

    read: Callable[[], tuple[Terms, Numbers]]
    """Computes the terms of its loss, and numbers to watch."""
    items: Items | None = None
    """Those of its terms, where they are known before it is read; None: several such pieces are read twice."""


Work = Callable[[Any], Sequence[Piece]]
"""From a process's part of a batch to its pieces."""
Build = Callable[..., Work]
"""Called with the model, the part's number and further arguments, in the process that is to do the work."""


class PieceError(ValueError):
    """A batch was cut into too many parts, or a piece's items are not those that it said."""


class Step(NamedTuple):
    """What a batch's gradients were computed from."""

    loss: float | None
    """Of the whole batch; None where nothing was to be learnt, and the parameters have no gradients."""
    numbers: list[Numbers]
    """What each piece says, part after part."""


Gradients = list[torch.Tensor | None]
"""Of every parameter that is trained; None where it has none."""


class Reader:
    """Reads its part of every batch."""

    def __init__(
        self, model: PreTrainedModel, build: Build, number: int, arguments: Sequence[Any], dtype: torch.dtype
    ) -> None:
        """
        Args:
            build: makes the work of part `number`, given the model and `arguments`.
            dtype: in which products are computed.
        """
        self._model, self._dtype = model, dtype
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        with precision(model, dtype):
            self._work = build(model, number, *arguments)

    def cut(self, part: Any, seed: int, *, counts: bool = True) -> None:
        """Cuts a part into pieces; `seed` decides all that it draws from torch's own random numbers.

        One that does not count is read, and nothing is learnt from it: processes that share a model's weights must all
        read it equally often.
        """
        torch.manual_seed(seed)
        with precision(self._model, self._dtype):
            self._pieces = self._work(part)
        self._counts = len(self._pieces) if counts else 0

    @property
    def pieces(self) -> int:
        """How many there are."""
        return len(self._pieces)

    @property
    def counted(self) -> bool:
        """Whether their items are known before they are read."""
        return all(piece.items is not None for piece in self._pieces)

    def start(self, rounds: int, *, counted: bool) -> None:
        """Reads what is to be read before anything can be learnt.

        Args:
            rounds: how many pieces are read, at least as many as there are; the last one again and again.
            counted: whether all processes know their items.
        """
        self._rounds, self._first = rounds, None
        if rounds == 1:
            self._first = self._read(0)
            self._items = [items_of(self._first[0])]
        elif counted:
            self._items = [piece.items or {} for piece in self._pieces]
        else:
            with torch.no_grad():
                self._items = [items_of(self._read(i)[0]) for i in range(rounds)]

    def items(self) -> Items:
        """Over how many items each term goes."""
        return add_items(self._items[: self._counts])

    def go_on(self, items: Items | None) -> None:
        """Computes the gradients, given the items of the whole batch; None: nothing is learnt from it."""
        self._losses, self._numbers = list[torch.Tensor](), list[Numbers]()
        for parameter in self.parameters:
            parameter.grad = None
        for i in range(self._rounds):
            with torch.set_grad_enabled(items is not None):
                terms, numbers = self._first or self._read(i)
            self._first = None
            if i < self._counts:
                self._require(i, items_of(terms))
                self._numbers.append(numbers)
            if items is not None and (loss := loss_of(terms, items)).requires_grad:
                (loss if i < self._counts else 0 * loss).backward()
                self._losses += [loss.detach()] if i < self._counts else []
        self._gradients: Gradients = [parameter.grad for parameter in self.parameters]

    def finish(self) -> tuple[Gradients, float, list[Numbers]]:
        """Its gradients, its part of the loss, and its pieces' numbers; a GPU is waited for here, when all is done."""
        gradients, self._gradients = self._gradients, []  # they are not to lie in memory with the next ones
        return gradients, sum(map(float, self._losses)), self._numbers

    def _read(self, i: int) -> tuple[Terms, Numbers]:
        with precision(self._model, self._dtype, keep=False):  # all but the head are read once
            return reading(self._model, self._pieces[min(i, len(self._pieces) - 1)].read)

    def _require(self, i: int, found: Items) -> None:
        if (said := self._pieces[i].items) not in (None, found):
            raise PieceError(f"a piece said that its terms have {said} items, and has {found}")
