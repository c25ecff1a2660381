"""Which kinds of engine there are. A kind is a module here, and a line in KINDS."""

from importlib import import_module

from agentprm_dagster.engine.base import EngineKind

KINDS = {
    "embedded": "agentprm_dagster.engine.embedded.kind",
    "transformers": "agentprm_dagster.engine.transformers.kind",
    "vllm": "agentprm_dagster.engine.vllm.kind",
}
"""The module of each kind."""

REFERENCE = "embedded"
"""The kind whose code stands in the recipes of what is played, whichever computes: others are held against it."""

AS_TRANSFORMERS = {"embedded", "transformers"}
"""Those that compute in the process that asks, and were compared with transformers' own forward before."""


def engine_kind(name: str) -> EngineKind:
    """The kind of this name; KeyError where there is none."""
    kind: EngineKind = import_module(KINDS[name])
    return kind
