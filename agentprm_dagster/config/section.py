"""What every part of an experiment's settings is, and the kinds of values in them."""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

T = TypeVar("T")


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _each_once(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) < len(values):
        raise ValueError(f"expected each once, got {', '.join(map(str, values))}")
    return values


Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Temperature = Annotated[float, Field(ge=0, le=2)]
Distinct = Annotated[tuple[T, ...], BeforeValidator(_as_tuple), AfterValidator(_each_once)]
"""A list that names nothing twice, or one value, which stands for a list of one."""
OneOrSeveral = Annotated[Distinct[T], Field(min_length=1)]


class Section(BaseModel):
    """Settings that belong together; an unknown key is an error, and so is a value that would have to be converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
