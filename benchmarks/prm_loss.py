"""What the PRM has learnt at the end, trained in one pass an episode or on one sample a decision. Takes a while.

Not part of `make bench`: `python -m benchmarks prm_loss`.
"""

from statistics import fmean

import torch

from benchmarks.measure import Row, summarise
from benchmarks.prm import SETTINGS, bce, data, in_one_pass, one_by_one

GAMES, SEEDS = 240, 3


def run() -> list[Row]:
    """The loss on games held out, over several seeds, and that of always saying the mean."""
    torch.set_num_threads(1)
    settings = SETTINGS.model_copy(update={"learning_rate": 1e-3})
    losses = [(in_one_pass(seed, GAMES, settings)[1], one_by_one(seed, GAMES, settings)[1]) for seed in range(SEEDS)]
    train, test = data(GAMES)
    mean = torch.tensor(fmean(target for example in train for target in example.targets))
    constant = bce([float(mean.logit())] * sum(len(example.ends) for example in test), test)
    ours, theirs = zip(*losses, strict=True)
    against = {"held-out loss, against the constant": ours, "the baseline's, against the constant": theirs}
    return [
        summarise("held-out loss", "nats", losses, lower_is_better=True),
        *(
            summarise(name, "nats", [(one, constant) for one in each], lower_is_better=True)
            for name, each in against.items()
        ),
    ]
