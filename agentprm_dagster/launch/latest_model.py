"""One model in memory at a time: the one before is gone when the next is loaded."""

import gc
from pathlib import Path
from typing import Any

from agentprm_dagster.config.kinds import AnyEngine
from agentprm_dagster.engine.base import Closing, Role, Switching
from agentprm_dagster.engine.kinds import engine_kind


class LatestModel:
    """Keeps the model that was asked for last; whoever asks must hold nothing of the one before."""

    def __init__(self) -> None:
        self._key: tuple[Path, Role, AnyEngine] | None = None
        self._model: Any = None

    def load(self, checkpoint: Path, role: Role, engine: AnyEngine) -> Any:
        """A checkpoint's model (`engine.base.EngineKind.load`)."""
        key = checkpoint, role, engine
        if self._key != key:
            if not self._switched(checkpoint, role, engine):
                self.let_go()
                self._model = engine_kind(engine.kind).load(checkpoint, role, engine)
            self._key = key
        return self._model

    def _switched(self, checkpoint: Path, role: Role, engine: AnyEngine) -> bool:
        same = self._key is not None and self._key[2] == engine
        return same and isinstance(self._model, Switching) and self._model.switch(checkpoint, role)

    def let_go(self) -> None:
        """Keeps nothing, and closes the model if it is more than memory."""
        model, self._model, self._key = self._model, None, None
        if isinstance(model, Closing):
            model.close()
        del model
        gc.collect()  # a model whose layers were replaced refers to itself
