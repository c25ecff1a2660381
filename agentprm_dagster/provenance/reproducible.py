"""How far an artifact can be made again: one word a manifest, which follows from what else the manifest says.

It is said of the stage alone, given the same inputs, recipe and computing environment.

- `bitwise`: the same bytes on the same processor. Rules and plain Python, the embedded engine, training on a CPU.
- `per seed`: the same seed draws the same answers, as long as the engine's kernels give an answer the same logits
  whoever else is answered at the same time; other hardware or another version may decide a close draw otherwise.
  Answers of other engines in float32, each model on one device.
- `statistical`: made again it is another draw from about the same distribution. Training on a GPU, where sums have no
  fixed order; answers in half precision or of a model that is spread over several GPUs; a language model behind
  somebody else's server.
"""

from collections.abc import Mapping
from typing import Literal

Reproducible = Literal["bitwise", "per seed", "statistical"]

REMOTE_MODEL = "llm_model"
"""The name in a recipe's settings of the model behind a server that was asked."""

GPU = "gpu"
"""The name in the environment of the GPUs that the stage itself computed on."""

ENGINE = "engine."
"""What stands in the environment before all that it says of the engine that the stage used; `engine.dtype` is the type
of numbers that the checkpoints were computed in."""

_SAME_BITS = "embedded"
"""The kind of engine that computes the same bits whoever else is answered."""


def how_reproducible(config: Mapping[str, object], environment: Mapping[str, str]) -> Reproducible:
    """The word for what a recipe's settings and a manifest's environment say; see above."""
    if REMOTE_MODEL in config or GPU in environment:
        return "statistical"
    if environment.get(f"{ENGINE}kind", _SAME_BITS) == _SAME_BITS:
        return "bitwise"
    exact = environment.get(f"{ENGINE}dtype") == "float32"
    spread = environment.get(f"{ENGINE}tensor_parallel", "1") != "1"
    return "per seed" if exact and not spread else "statistical"
