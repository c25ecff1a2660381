"""vLLM: any model that it serves, on GPUs, behind its HTTP server; token ids in, token ids and log-probabilities out.

A stage starts the servers that it needs, in an environment of vLLM's own, which AGENTPRM_VLLM names: what vLLM pins is
not what we pin. Or the servers are there already, and settings name them. A model is computed in the type of numbers
that its checkpoint was saved in.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from agentprm_dagster.engine.base import Engine, Role
from agentprm_dagster.engine.settings import EngineSettings
from agentprm_dagster.section import Distinct

if TYPE_CHECKING:
    from agentprm_dagster.engine.vllm.served import Served

_Url = Annotated[str, Field(pattern=r"^https?://[^\s@]+$")]


class Settings(EngineSettings):
    """Policies and PRMs behind vLLM servers."""

    kind: Literal["vllm"] = "vllm"
    policy_url: _Url | None = None
    """A server of policies that is there already; null starts one. It must serve the weights that are wanted."""
    prm_url: _Url | None = None
    """A server of PRMs, which vLLM calls a pooling runner; null starts one."""
    launch: Literal["process", "ray"] = "process"
    """Where servers are started: on this machine, or on nodes of the Ray cluster that RAY_ADDRESS names."""
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    """Servers of the same model, each on GPUs of its own."""
    tensor_parallel: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs that one server spreads a model over."""
    memory: Annotated[float, Field(gt=0, le=1)] = 0.45
    """Share of a GPU's memory that a server may take. Best-of-N has two on the same GPUs, a policy's and a PRM's, and
    with a world model three: lower it then to 0.3. Where policies answer alone, 0.9 leaves more to the cache."""
    context: Annotated[int, Field(ge=256, le=2**20)] | None = None
    """Longest conversation in tokens; null is what the model was made for."""
    start_seconds: Annotated[float, Field(gt=0, le=86_400)] = 900.0
    """How long a server may take to start."""
    timeout: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    """Seconds that one answer may take."""
    retries: Annotated[int, Field(ge=0, le=100)] = 4
    adapters: Literal["merged", "hot"] = "merged"
    """How policies that are adapters (`model.lora`) are served: merged into their base model, each by a server of its
    own; or beside it, so that the next policy of the same base is loaded into the server that is there. Merged
    ones answer faster, hot ones begin sooner. PRMs are merged."""
    arguments: Distinct[str] = ()
    """Further arguments of a server that is started: [--enforce-eager, --max-num-seqs=64]."""

    @model_validator(mode="after")
    def hot_adapters_are_read_here(self) -> Self:
        if self.adapters == "hot" and (self.launch == "ray" or self.policy_url):
            raise ValueError("adapters: hot is for servers that are started on this machine")
        return self


def load(checkpoint: Path, role: Role, settings: Settings) -> "Served":
    """See `engine.base.EngineKind`."""
    from agentprm_dagster.engine.vllm.served import served

    return served(checkpoint, role, settings)


def open(model: "Served", settings: Settings, *, conversations: int) -> Engine:  # noqa: A001  # the protocol's
    """See `engine.base.EngineKind`."""
    from agentprm_dagster.engine.vllm.engine import VllmEngine  # loads torch

    return VllmEngine(model)


def versions(settings: Settings) -> dict[str, str]:
    """The version of vLLM that answers; VllmError where it cannot be found out."""
    from agentprm_dagster.engine.vllm.served import version

    return {"vllm": version(settings)}
