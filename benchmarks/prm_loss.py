"""How long the PRM takes to learn the same, trained in one pass an episode or on one sample a decision. Takes a while.

A batch of ours holds the decisions of a few whole episodes, one of the baseline's as many of many games, which say more
at a time: ours passes over the data several times for what the baseline learns in one.

Not part of `make bench`: `python -m benchmarks prm_loss`.
"""

from statistics import fmean

import torch

from benchmarks.measure import Row, summarise
from benchmarks.prm import SETTINGS, bce, count, data, in_one_pass, one_by_one

GAMES, SEEDS = 240, 3
PASSES = 2.75
"""Ours, over the data; the baseline makes one."""


def run() -> list[Row]:
    """Seconds, and the loss on games held out, over several seeds, and that of always saying the mean."""
    torch.set_num_threads(1)
    theirs = SETTINGS.model_copy(update={"learning_rate": 1e-3})
    ours = theirs.model_copy(update={"epochs": PASSES})
    learnt = [(in_one_pass(seed, GAMES, ours), one_by_one(seed, GAMES, theirs)) for seed in range(SEEDS)]
    train, test = data(GAMES)
    decisions = count(train)
    seconds = [(PASSES * decisions / fast, decisions / slow) for (fast, _), (slow, _) in learnt]
    losses = [(loss, their_loss) for (_, loss), (_, their_loss) in learnt]
    mean = torch.tensor(fmean(target for example in train for target in example.targets))
    constant = bce([float(mean.logit())] * sum(len(example.ends) for example in test), test)
    our_losses, their_losses = zip(*losses, strict=True)
    against = {"held-out loss, against the constant": our_losses, "the baseline's, against the constant": their_losses}
    return [
        summarise("training", "s", seconds, lower_is_better=True),
        summarise("held-out loss", "nats", losses, lower_is_better=True),
        *(
            summarise(name, "nats", [(one, constant) for one in each], lower_is_better=True)
            for name, each in against.items()
        ),
    ]
