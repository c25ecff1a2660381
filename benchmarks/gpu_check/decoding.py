"""Part E: turns of conversations, answered by the embedded engine's slots and by transformers' `generate`."""

from collections.abc import Callable, Iterator
from time import perf_counter

import torch
from transformers import PreTrainedModel

from agentprm_dagster.engine.base import Engine, Limits, answer_seed
from agentprm_dagster.engine.embedded.engine import EmbeddedEngine
from agentprm_dagster.engine.transformers.engine import TransformersEngine
from benchmarks.gpu_check import shapes
from benchmarks.gpu_check.card import Card
from benchmarks.gpu_check.check import Measurement, Numbers
from benchmarks.gpu_check.shapes import Size

Open = Callable[[PreTrainedModel, int], Engine]
"""An engine around a model for so many conversations."""

ENGINES: dict[str, Open] = {
    "embedded": lambda model, conversations: EmbeddedEngine(model, conversations=conversations),
    "transformers": lambda model, conversations: TransformersEngine(model, batch=conversations),
}


def measurements(size: Size, card: Card) -> Iterator[Measurement]:
    """Every engine with so many conversations at once."""
    for name, opened in ENGINES.items():

        def measured(conversations: int, opened: Open = opened) -> Numbers:
            return measure(opened, size, card, conversations)

        for count in size.conversations:
            yield Measurement(
                "E", f"decoding by {name}, {size.what}, bfloat16, {{size}} conversations", measured, count
            )


def measure(opened: Open, size: Size, card: Card, conversations: int) -> Numbers:
    """Turns of so many conversations, from their openings on; a turn of one of them is not timed."""
    model = shapes.policy(shapes.config_of(size), card.device, torch.bfloat16)
    play(opened(model, 1), 1, 1, size)
    card.free()
    engine = opened(model, conversations)
    card.settle()
    start = perf_counter()
    drawn = play(engine, conversations, size.turns, size)
    card.settle()
    took = perf_counter() - start
    return {
        "decisions_per_s": conversations * size.turns / took,
        "drawn_tokens_per_s": drawn / took,
        "read_tokens_per_s": engine.tokens_read / took,
    }


def play(engine: Engine, conversations: int, turns: int, size: Size) -> int:
    """Answers and observations in turn; how many tokens were drawn."""
    numbers, drawn = list(range(conversations)), 0
    limits = Limits(end=1, max_new_tokens=size.answer, banned=(0,))
    for each in numbers:
        engine.begin(each, shapes.ids(size.length // 2, each))
    for turn in range(turns):
        seeds = [answer_seed(0, str(each), turn, 1) for each in numbers]
        sampled = engine.sample(numbers, 1, limits, temperature=0.7, seeds=seeds)
        drawn += sampled.count()
        engine.keep(numbers, [0] * conversations, [len(ids) for (ids,) in sampled.tokens])
        for each in numbers:
            engine.extend(each, [limits.end, *shapes.ids(size.observation, (each, turn))])
    return drawn
