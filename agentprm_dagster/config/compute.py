"""Where and how an experiment is computed: no part of it, and of no recipe.

The same experiment is asked for on a laptop and on a cluster. What a stage used stands in its manifest's environment.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from agentprm_dagster.config.kinds import AnyEngine, with_usual_kinds
from agentprm_dagster.engine.kinds import engine_kind
from agentprm_dagster.section import Positive, Section


class TrainingCompute(Section):
    """Where models are trained, and how a step of theirs is fitted into memory."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d{1,2})?)$")] = "auto"
    """`auto` is a GPU where torch sees one that the model gains from, else the CPU."""
    micro_batch_tokens: Positive | None = None
    """Most tokens, padding included, of one forward and backward pass; the gradients of several are added up, so that
    the batch stays what the experiment says. Null: a batch's part at once."""
    activation_checkpointing: bool = False
    """Activations are computed again in the backward pass instead of kept."""
    launch: Literal["process", "torchrun", "ray"] = "process"
    """Where a training runs: in the stage's own process, in `processes` that torchrun starts on this machine, or in as
    many of the Ray cluster that RAY_ADDRESS names; each with a GPU of its own where there are some."""
    processes: Annotated[int, Field(gt=0, le=1024)] = 1
    """How many train together; 1 may train in another process, or on another machine, too."""
    cpus: Annotated[int, Field(gt=0, le=1024)] = 1
    """Cores of each process on Ray, and its threads."""
    strategy: Literal["ddp", "fsdp2"] = "ddp"
    """What processes that train together hold: all weights each (`ddp`), or a share of the weights, gradients and
    moments (`fsdp2`). One process holds all."""

    @model_validator(mode="after")
    def several_are_launched(self) -> Self:
        if self.launch == "process" and self.processes > 1:
            raise ValueError(
                f"processes: {self.processes} train together only where launch: torchrun or ray starts them"
            )
        if self.launch == "process" and self.strategy == "fsdp2":
            raise ValueError("strategy: fsdp2 spreads a model over the processes that launch: torchrun or ray starts")
        if self.launch != "process" and ":" in self.device:
            raise ValueError(f"device: {self.device} is one GPU, and {self.launch} gives each process its own: cuda")
        return self


class PlayingCompute(Section):
    """Where games are played."""

    launch: Literal["process", "ray"] = "process"
    """By processes of this machine, or by tasks of the Ray cluster that RAY_ADDRESS names."""
    cpus: Annotated[int, Field(gt=0, le=1024)] = 1
    """Cores of each task on Ray, and its threads."""
    gpus: Annotated[float, Field(ge=0, le=64)] = 0
    """GPUs of each task on Ray; of a GPU that several share, each one's part."""


class Compute(Section):
    """What computes the models that play, rank and judge, and what trains them."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    description: Annotated[str, Field(max_length=1000)] = ""
    engine: AnyEngine = Field(default_factory=engine_kind("embedded").Settings)
    playing: PlayingCompute = PlayingCompute()
    training: TrainingCompute = TrainingCompute()

    @model_validator(mode="after")
    def servers_are_asked_from_here(self) -> Self:
        if self.playing.launch == "ray" and self.engine.kind == "vllm":
            raise ValueError("playing.launch: ray is for models that tasks compute: of vLLM place the servers there")
        return self

    @model_validator(mode="before")
    @classmethod
    def kinds_are_the_usual(cls, values: Any) -> Any:
        """Unless a section says otherwise."""
        return with_usual_kinds(values)
