"""What every part of an experiment's settings is, and the kinds of values in them."""

from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

T = TypeVar("T")


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _each_once(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) < len(values):
        raise ValueError(f"expected each once, got {', '.join(map(str, values))}")
    return values


MOST = 10_000_000
"""How large a count may be: what is larger was mistyped."""
MOST_AT_ONCE = 4096
"""How many things may be done, drawn or kept side by side, all of them in memory."""
MOST_GAMES = 100_000
"""How many games may be generated for a split, 150 kB each."""

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0, le=MOST)]
NotNegative = Annotated[int, Field(ge=0, le=MOST)]
Actions = Annotated[int, Field(gt=0, le=10_000)]
"""How many an episode may take."""
Tokens = Annotated[int, Field(gt=0, le=2**20)]
"""How many an answer may have."""
AtOnce = Annotated[int, Field(gt=0, le=MOST_AT_ONCE)]
Drawn = Annotated[int, Field(ge=2, le=MOST_AT_ONCE)]
"""How many answers one is chosen among."""
PositiveFloat = Annotated[float, Field(gt=0, le=1e6)]
Epochs = Annotated[float, Field(gt=0, le=10_000)]
LearningRate = Annotated[float, Field(gt=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e4)]
Temperature = Annotated[float, Field(ge=0, le=2)]
PositiveTemperature = Annotated[float, Field(gt=0, le=2)]
"""Of answers that must be able to differ: at 0 all draws are the same."""
Distinct = Annotated[tuple[T, ...], BeforeValidator(_as_tuple), AfterValidator(_each_once)]
"""A list that names nothing twice, or one value, which stands for a list of one."""
OneOrSeveral = Annotated[Distinct[T], Field(min_length=1)]


class Section(BaseModel):
    """Settings that belong together; an unknown key is an error, and so is a value that would have to be converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class HeadTraining(Section):
    """How a model is trained on token trees."""

    epochs: Epochs = 3
    optimizer: Literal["adamw", "muon"] = "muon"
    learning_rate: LearningRate = 1e-3
    batch_tokens: Positive = 8192
    """Padded tokens of one step."""
