"""The most memory that a step of training takes, by arithmetic: what lies on one GPU at each of a few moments.

Counted are the tensors of our own step under transformers' layers: float32 weights, gradients and moments, products in
bfloat16 by autocast (or all in float32), attention that keeps no scores. It is held against torch's fake tensors by
tests/planning/test_memory.py; docs/large_models.md has the table.
"""

from dataclasses import dataclass, fields
from typing import Literal

from agentprm_dagster.engine.settings import MOST_LOGITS
from agentprm_dagster.planning.shapes import Shape

Dtype = Literal["float32", "bfloat16"]
OptimizerName = Literal["adamw", "muon"]
BYTES: dict[Dtype, int] = {"float32": 4, "bfloat16": 2}

LOGIT_BYTES = {"likelihood": 12, "comparison": 28}
"""Bytes of a logit while a loss is computed: with its log-softmax and that one's gradients; with those of a reference,
the KL and the weights of another temperature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes by what they hold."""

    weights: float = 0
    gradients: float = 0
    optimizer: float = 0
    activations: float = 0
    logits: float = 0
    cache: float = 0
    """Keys and values of conversations that answers are drawn in."""

    @property
    def total(self) -> float:
        """All of them."""
        return float(sum(getattr(self, field.name) for field in fields(self)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of training as far as its memory goes."""

    shape: Shape
    role: Literal["policy", "prm"]
    rows: int
    """Rows of the largest piece that is read at once."""
    width: int
    """Tokens that they are padded to."""
    several: bool
    """Whether a step has several such pieces, whose gradients are added up."""
    learnt: int = 0
    """Tokens of a piece whose logits are computed."""
    loss: Literal["likelihood", "comparison"] = "likelihood"
    masked: bool = False
    """Whether rows are trees, which are read under a mask."""
    dtype: Dtype = "bfloat16"
    checkpointing: bool = False
    optimizer: OptimizerName = "adamw"
    frozen: int = 0
    """Weights of models that are only read beside the one that is trained."""
    cached: int = 0
    """Tokens that conversations hold in all, where answers are drawn between steps."""
    lora_rank: int | None = None
    """The rank of the adapters that are trained alone; None trains all weights."""
    sharded: int = 1
    """Over how many GPUs weights, gradients and moments are spread (FSDP2, `launch.sharding`); activations are each
    one's own, and so are models that are only read."""

    @property
    def weights(self) -> int:
        """Of the model."""
        return self.shape.policy if self.role == "policy" else self.shape.prm

    @property
    def trained(self) -> int:
        """Weights that have gradients."""
        return self.weights if self.lora_rank is None else self.shape.adapters(self.lora_rank)


def peak(step: Step) -> Memory:
    """What lies in memory at the moment when it is most."""
    return max(_moments(step), key=lambda memory: memory.total)


def _moments(step: Step) -> list[Memory]:
    shape, size = step.shape, step.rows * step.width
    held, moments, gathered = _held(step), _optimizer(step), _gathered(step)
    whole = 4 * step.trained / step.sharded
    before = whole if step.several else 0.0
    saved = size * shape.layers * (_stream(step) if step.checkpointing else _layer(step))
    kept = BYTES[step.dtype] * shape.cached * step.cached
    found = [
        # The loss: all activations that are kept, the last norm, and the logits.
        Memory(
            weights=held + gathered + _casts(step),
            gradients=before,
            optimizer=moments,
            activations=saved + 24 * shape.hidden * size,
            logits=_logits(step),
            cache=kept,
        ),
        # The backward pass of the last layer, which is the first, and of the first.
        Memory(
            weights=held + gathered,
            gradients=before,
            optimizer=moments,
            activations=(saved if step.checkpointing else saved - size * _layer(step)) + size * _backward(step),
            cache=kept,
        ),
        Memory(
            weights=held + gathered,
            gradients=whole,
            optimizer=moments,
            activations=size * _backward(step),
            cache=kept,
        ),
    ]
    if step.lora_rank is None:
        # The embedding's own gradient, the head's, and their sum.
        head = step.role == "policy" and shape.tied
        sums = 4 * shape.embedding * ((3 if step.several else 2) if head else 1 + step.several)
        found.append(Memory(weights=held + gathered, gradients=whole + sums, optimizer=moments, cache=kept))
    if step.optimizer == "muon":
        # All matrices of a shape are stepped together, in copies.
        group = 19 * 2 * shape.layers * shape.hidden * shape.intermediate
        found.append(Memory(weights=held, gradients=whole, optimizer=moments + group, cache=kept))
    if step.cached:
        # Drawing copies the conversations; every weight is there, cast once.
        cast = step.lora_rank is None and (step.dtype == "bfloat16" or step.sharded > 1)
        whole_model = BYTES[step.dtype] * step.weights if cast else 0
        found.append(Memory(weights=held + whole_model, optimizer=moments, cache=2 * kept))
    return found


def _held(step: Step) -> float:
    """Weights that stay: in float32 where they are trained, else as they are stored."""
    stored = BYTES[step.dtype]
    own = 4 * step.weights if step.lora_rank is None else stored * step.weights + 4 * step.trained
    return own / step.sharded + stored * step.frozen


def _gathered(step: Step) -> float:
    """What a GPU has of the others for a moment: the embedding, a layer and the next; a layer's gradients."""
    if step.sharded == 1:
        return 0.0
    return float(BYTES[step.dtype] * (step.shape.embedding + 2 * step.shape.layer) + 4 * step.shape.layer)


def _casts(step: Step) -> float:
    """Copies of weights in bfloat16 that the backward pass reads: all matrices, unless they are cast again there."""
    if step.dtype == "float32" or step.lora_rank is not None or step.sharded > 1:
        return 0.0  # they are so already
    layers = 0 if step.checkpointing else step.shape.layers * sum(step.shape.matrices)
    return 2.0 * (layers + (step.shape.embedding if step.learnt else 0))


def _optimizer(step: Step) -> float:
    """AdamW's two moments; Muon's one of the matrices."""
    matrices = 0
    if step.optimizer == "muon":
        matrices = step.shape.layers * sum(step.shape.matrices)
    return (8.0 * step.trained - 4.0 * matrices) / step.sharded


def _stream(step: Step) -> int:
    """Bytes of a token between two layers: as the embedding is stored."""
    return step.shape.hidden * (4 if step.lora_rank is None else BYTES[step.dtype])


def _layer(step: Step) -> int:
    """Bytes that a layer keeps of a token for its backward pass."""
    shape, low = step.shape, BYTES[step.dtype]
    # The residual stream and the normed one in float32, each twice.
    of_norms = 16 * shape.hidden
    # A product keeps its input. Autocast casts it for each: queries, keys, values; gate, up.
    inputs = (5 if step.dtype == "bfloat16" else 2) * low * shape.hidden
    width = shape.query if step.masked else shape.kv
    attention = low * (2 * shape.query + 2 * width) + 4 * shape.heads + low * step.width * step.masked
    return of_norms + inputs + attention + 4 * low * shape.intermediate


def _backward(step: Step) -> int:
    """The same of the layer whose backward pass runs, with the gradients inside."""
    return _layer(step) + 2 * BYTES[step.dtype] * step.shape.intermediate + 4 * step.shape.hidden


def _logits(step: Step) -> float:
    most = max(MOST_LOGITS // step.shape.vocabulary, 1)
    return float(LOGIT_BYTES[step.loss] * min(step.learnt, most) * step.shape.vocabulary)
