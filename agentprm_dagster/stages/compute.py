"""The compute of a run as a stage uses it: what it asks for is what its manifest says it was made with."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from agentprm_dagster.config import Compute, PlayingCompute, TrainingCompute
from agentprm_dagster.config.kinds import AnyEngine
from agentprm_dagster.engine.checkpoint_files import dtype_of
from agentprm_dagster.engine.kinds import KINDS, REFERENCE, engine_kind
from agentprm_dagster.provenance.code import source_digest
from agentprm_dagster.provenance.reproducible import ENGINE
from agentprm_dagster.section import Section


class UsedCompute:
    """A compute that notes which of its sections are asked for."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._used: set[str] = set()

    @property
    def engine(self) -> AnyEngine:
        """What computes the models that play, rank and judge."""
        self._used.add("engine")
        return self._compute.engine

    @property
    def playing(self) -> PlayingCompute:
        """Where games are played."""
        self._used.add("playing")
        return self._compute.playing

    @property
    def training(self) -> TrainingCompute:
        """Where models are trained, and in which pieces."""
        self._used.add("training")
        return self._compute.training

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules of the engine, where it was asked for."""
        return (KINDS[self._compute.engine.kind],) if "engine" in self._used else ()

    @property
    def folder(self) -> str:
        """A name for what was begun with it: what is drawn or trained by one is not gone on with by another."""
        training = self._compute.training
        together = f"-{training.processes}-{training.strategy}" if training.launch != "process" else ""
        return f"{self._compute.engine.kind}-{training.device.replace(':', '')}{together}"

    def environment(self, inputs: Iterable[Path]) -> dict[str, str]:
        """What was asked for, for a manifest: the settings, and of an engine more than they say.

        `inputs` are the folders of the stage's inputs; the engine computed the checkpoints among them.
        """
        if not self._used:
            return {}
        told = {"compute": self._compute.name}
        if "training" in self._used:
            told |= _told(self._compute.training, "training.")
        if "playing" in self._used:
            told |= _told(self._compute.playing, "playing.")
        if "engine" in self._used:
            told |= _told(self._compute.engine, ENGINE) | self._beside_settings(inputs)
        return told

    def _beside_settings(self, inputs: Iterable[Path]) -> dict[str, str]:
        """An engine's code, versions and types of numbers; nothing of the reference, whose code is in the recipe."""
        engine = self._compute.engine
        if engine.kind == REFERENCE:
            return {}
        versions: Callable[[AnyEngine], dict[str, str]] = getattr(engine_kind(engine.kind), "versions", lambda _: {})
        dtypes = sorted({dtype_of(folder) for folder in inputs if (folder / "config.json").exists()})
        told = {"code": source_digest(KINDS[engine.kind]), "dtype": ", ".join(dtypes), **versions(engine)}
        return {f"{ENGINE}{name}": value for name, value in told.items()}


def _told(section: Section, prefix: str) -> dict[str, str]:
    values = section.model_dump(mode="json", exclude_none=True).items()
    return {f"{prefix}{name}": value if isinstance(value, str) else json.dumps(value) for name, value in values}
