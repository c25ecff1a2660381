"""A compiled story on Jericho's Z-machine interpreter, which can be set back to any state it was in."""

import warnings
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import jericho  # type: ignore[import-untyped]
import numpy as np

from agentprm_dagster.envs.textworld.told import traced

_SEED = 1


class Memory(NamedTuple):
    """All that the interpreter holds; a few hundred bytes, immutable, and good for any copy of the same story."""

    ram: bytes
    """What differs from the story's start, packed."""
    stack: bytes
    rest: tuple[Any, ...]
    """Registers, random numbers, the last reply."""


class Story:
    """One story in its own interpreter (1.5 MB). Not for use in several threads at once."""

    def __init__(self, story: bytes) -> None:
        with TemporaryDirectory() as folder:  # the interpreter reads a file, and only to start
            path = Path(folder) / "game.z8"
            path.write_bytes(story)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it is none of the games that Jericho knows by heart
                self._frotz = jericho.FrotzEnv(str(path), _SEED)
            self.opening: str = self._frotz.reset()[0]
            """What it says first."""
            self._frotz.step("tw-trace-actions")  # from now on it says which actions it carries out
        self._start = self._frotz.get_state()[0]

    def play(self, memory: Memory, command: str) -> tuple[list[str], str]:
        """What the story carries out on a command in a state, and what it says."""
        ram = np.frombuffer(zlib.decompress(memory.ram), np.uint8) ^ self._start
        stack = np.frombuffer(zlib.decompress(memory.stack), np.uint8)
        self._frotz.set_state((ram, stack.copy(), *memory.rest))
        return traced(self._frotz.step(command)[0])

    def memory(self) -> Memory:
        """The present state."""
        ram, stack, *rest = self._frotz.get_state()
        return Memory(zlib.compress((ram ^ self._start).tobytes()), zlib.compress(stack.tobytes()), tuple(rest))
