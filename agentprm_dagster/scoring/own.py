"""A user's own class as an agent: it reads observations and admissible commands, and answers with a command.

    class MyAgent:
        def reset(self, observation: str, commands: Sequence[str]) -> None: ...
        def act(self, observation: str, commands: Sequence[str]) -> str: ...

`reset` is called once a game with its first observation, `act` each turn with what was seen last, the first time with
the same. It answers with a command, or with a whole answer that ends in "ACTION: command". A class whose `__init__`
takes `seed` is given one, which differs from game to game, and may be scored with several seeds.
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Protocol

from agentprm_dagster.engine.base import answer_seed
from agentprm_dagster.envs.base import Task
from agentprm_dagster.episodes.parsing import Answer, parse_answer
from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.players import AgentRecord, Played


class OwnAgent(Protocol):
    """What a user writes."""

    def reset(self, observation: str, commands: Sequence[str]) -> None:
        """A game begins."""

    def act(self, observation: str, commands: Sequence[str]) -> str:
        """The next command; an empty text is none."""


@dataclass(frozen=True)
class OwnPlayer:
    """A class, in a file or as it is."""

    record: AgentRecord
    named: tuple[Path, str] | type
    draws: bool
    games_at_once: int = 16

    def play(self, games: Sequence[Task], *, seed: int, max_steps: int, monitor: Monitor) -> Played:
        """See `Player`; one agent a game."""
        made = self.named if isinstance(self.named, type) else load_class(*self.named)
        usage, episodes = Usage(), []
        for done, game in enumerate(games, 1):
            own = {"seed": answer_seed(seed, game.id, 0, 1)} if self.draws else {}
            episodes.append(_play_one(made, own, game, max_steps, usage))
            monitor.progress(done, len(games), "games")
        return episodes, usage


def own_player(path: Path, name: str) -> OwnPlayer:
    """The class of this name in a file.

    Raises:
        ScoreError: there is no such file or class, or it lacks a method.
    """
    made = load_class(path, name)
    digest = sha256(path.read_bytes()).hexdigest()
    record = AgentRecord(name=f"{path.name}:{name}", kind="python", digests={"source": digest})
    return OwnPlayer(record, (path.resolve(), name), _takes_seed(made))


def class_player(made: type) -> OwnPlayer:
    """A class that Python has already; it can be played in this process alone."""
    _require_methods(made, made.__name__)
    try:
        source = inspect.getsource(made)
    except (OSError, TypeError):
        source = ""
    digests = {"source": sha256(source.encode()).hexdigest()} if source else {}
    return OwnPlayer(AgentRecord(name=made.__name__, kind="python", digests=digests), made, _takes_seed(made))


def load_class(path: Path, name: str) -> type:
    """Runs the file, with its folder to import from, as Python runs a script."""
    if not path.is_file():
        raise ScoreError(f"expected a Python file before the colon of {path}:{name}, and there is none")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = spec_from_file_location(f"scored_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ScoreError(f"{path}: expected a file that ends in .py")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ScoreError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    made = getattr(module, name, None)
    if not isinstance(made, type):
        raise ScoreError(f"{path} has no class {name}")
    _require_methods(made, f"{path.name}:{name}")
    return made


def _require_methods(made: type, name: str) -> None:
    if missing := [method for method in ("reset", "act") if not callable(getattr(made, method, None))]:
        raise ScoreError(
            f"{name} lacks {' and '.join(missing)}: expected reset(observation, commands) and "
            "act(observation, commands) -> str"
        )


def _takes_seed(made: Callable[..., Any]) -> bool:
    return "seed" in inspect.signature(made).parameters


def _play_one(made: type, own: dict[str, Any], game: Task, max_steps: int, usage: Usage) -> Episode:
    environment = game.environment()
    with usage.environment():
        observation = first = environment.reset()
    agent: OwnAgent = _asked(game, made, **own)
    _asked(game, agent.reset, first.text, first.commands)
    turns: list[Turn] = []
    while not observation.done and len(turns) < max_steps:
        text = _asked(game, agent.act, observation.text, observation.commands)
        if not isinstance(text, str):
            raise ScoreError(f"{game.id}, turn {len(turns)}: expected a text from act, got {type(text).__name__}")
        said, before = read_command(text), observation
        with usage.environment():
            observation = environment.step(said.action)
        turns.append(
            Turn(
                reason=said.reason,
                action=said.action,
                observation=observation.text,
                response=text,
                parsed=said.parsed,
                admissible=before.admits(said.action),
            )
        )
    truncated = not observation.done or observation.truncated
    return Episode(game.id, game.id, game.kind, first.text, tuple(turns), observation.reward, truncated=truncated)


def read_command(text: str) -> Answer:
    """A whole answer in the agreed form, or a command alone on its line."""
    if "ACTION" in text:
        return parse_answer(text)
    command = text.strip()
    plain = bool(command) and "\n" not in command
    return Answer("", command if plain else "", parsed=plain)


def _asked(game: Task, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What the agent answers; an error of its own says in which game."""
    try:
        return method(*arguments, **named)
    except Exception as error:
        what = getattr(method, "__name__", "it")
        raise ScoreError(f"{game.id}: {what} of the agent failed: {type(error).__name__}: {error}") from error
