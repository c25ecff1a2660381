"""Settings of the language model, and what those of every kind of engine say."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agentprm_dagster.section import Section

MOST_WEIGHTS = 10**9
"""What the embedded model may have: its weights, gradients and moments then take 16 GB."""

MOST_LOGITS = 2**27
"""So many logits lie in memory at once, half a gigabyte in float32."""


class Lora(Section):
    """Low-rank adapters beside all linear maps of a model's layers (LoRA, arXiv 2106.09685), which alone are
    trained."""

    rank: Annotated[int, Field(gt=0, le=4096)] = 16
    alpha: Annotated[int, Field(gt=0, le=65_536)] = 32
    """An adapter's output is multiplied by alpha / rank."""


class Model(Section):
    """The language model that becomes the policy and, with a scalar head, the PRM."""

    name: Annotated[str, Field(min_length=1, max_length=1000)] = "embedded"
    """`embedded` builds a small Llama from the sizes below; `smollm2` is SmolLM2-135M; else a hub name or a path of one
    of the architectures in docs/models.md."""
    revision: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Commit, tag or branch of a hub model; null is what its main branch is when it is fetched."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """In which checkpoints are stored and products computed, of policies and of PRMs; while a model is trained its
    weights and their updates are in float32."""
    lora: Lora | None = None
    """Policies and reward models are adapters beside the pretrained model; null trains all weights."""
    hidden_size: Annotated[int, Field(gt=0, le=16_384)] = 128
    layers: Annotated[int, Field(gt=0, le=256)] = 2
    heads: Annotated[int, Field(gt=0, le=256)] = 8
    """Many narrow ones: with few, SFT from scratch more often fails to learn whether what is looked for is here."""
    kv_heads: Annotated[int, Field(gt=0, le=256)] = 1
    intermediate_size: Annotated[int, Field(gt=0, le=65_536)] = 320
    context: Annotated[int, Field(ge=256, le=2**20)] = 2048
    """Longest conversation in tokens (embedded model)."""

    @model_validator(mode="after")
    def heads_divide(self) -> Self:
        if self.hidden_size % self.heads or self.heads % self.kv_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} must be a multiple of heads {self.heads}, and heads of kv_heads "
                f"{self.kv_heads}: attention splits the width evenly"
            )
        if self.hidden_size // self.heads % 2:
            raise ValueError(
                f"hidden_size {self.hidden_size} over heads {self.heads} is {self.hidden_size // self.heads}: rotary "
                "positions turn pairs of numbers, so that it must be even"
            )
        return self

    @model_validator(mode="after")
    def fits(self) -> Self:
        if self.name != "embedded":
            return self
        attention = 2 * self.hidden_size**2 * (1 + self.kv_heads / self.heads)
        weights = self.layers * (attention + 3 * self.hidden_size * self.intermediate_size)
        if weights > MOST_WEIGHTS:
            raise ValueError(
                f"these sizes make a model of {weights:.1e} weights; at most {MOST_WEIGHTS:.0e} are built from "
                "scratch: lower layers, hidden_size or intermediate_size"
            )
        return self

    @model_validator(mode="after")
    def adapters_are_of_pretrained_models(self) -> Self:
        if self.lora and self.name == "embedded":
            raise ValueError(
                "lora trains adapters beside a pretrained model, and name: embedded is built from scratch: leave lora "
                "out, or name a model"
            )
        return self

    @model_validator(mode="after")
    def revisions_are_of_the_hub(self) -> Self:
        if self.revision and (self.name in ("embedded", "smollm2") or self.name.startswith(("/", ".", "~"))):
            raise ValueError(f"revision {self.revision!r} is a hub model's, and name is {self.name}: leave it out")
        return self


class EngineSettings(Section):
    """What computes the models that play, rank and judge; each kind adds its own, among them `kind: Literal[...]`."""

    kind: str
