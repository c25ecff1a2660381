"""One game: TextWorld's logic says what can be done and what it leads to, the compiled story says it in words.

TextWorld's own environment (`textworld.start`) plays both side by side too, but lets the story take any command and
then guesses what it did: "get knife" and "drop all" leave its logic behind, "print_state" tells what is hidden, "save"
writes a file. Here the story hears only commands that the logic admits, and says whether it has carried them out: the
logic would prepare a meal of raw food, too. So the two never part, and all that there is to a state is known: it can be
returned to, and compared.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import textworld
from textworld.generator.inform7 import Inform7Game
from textworld.logic import State as LogicState

from agentprm_dagster.envs.base import TaskFileError
from agentprm_dagster.envs.textworld.game_file import MAKE_AGAIN, read_game
from agentprm_dagster.envs.textworld.story import Memory, Story
from agentprm_dagster.envs.textworld.told import ending, introduction, told
from agentprm_dagster.episodes.records import Observation

Facts = frozenset[Any]
"""`textworld.logic.Proposition`s that are true; of all others nothing is."""

_KEPT = 256
"""How many of a game's moments and choices are kept, 10 kB each: many episodes go through the same ones."""


@dataclass(frozen=True, eq=False, slots=True)
class Moment:
    """A state that a game was in, and how it came there as far as the story remembers. Immutable."""

    facts: Facts
    completed: frozenset[int]
    """The numbers of the quests that have been, for which the score counts."""
    actions: tuple[Any, ...]
    """The `textworld.logic.Action` behind each admissible command."""
    memory: Memory
    observation: Observation


class Engine:
    """A game that any number of environments play, in several threads if need be: it has no state of its own."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            FileNotFoundError: there is no such file.
            TaskFileError: it is broken.
        """
        logic, story = read_game(path)
        try:
            self.game = textworld.Game.deserialize(logic)
        except (KeyError, TypeError, ValueError) as error:
            expected = f"a game of TextWorld {textworld.__version__}"
            raise TaskFileError(f"{path}: expected {expected}, got {error!r}. {MAKE_AGAIN}") from error
        self._path = path
        self._inform7 = Inform7Game(self.game)
        self._lock = Lock()
        self._story = Story(story)
        self._choices = lru_cache(_KEPT)(self._admissible)
        self.start = self._moment(
            frozenset(self.game.world.facts), frozenset(), introduction(self.game.objective, self._story.opening), ""
        )
        self.after = lru_cache(_KEPT)(self._after)
        """The moment after a command, which must be admissible, in a moment."""

    def commands(self, actions: Iterable[Any]) -> list[str]:
        """What to say for actions."""
        return list(self._inform7.gen_commands_from_actions(actions))

    def _after(self, moment: Moment, command: str) -> Moment:
        action = moment.actions[moment.observation.commands.index(command)]
        with self._lock:
            happened, raw = self._story.play(moment.memory, command)
            done = any(self._inform7.detect_action(event, [action]) for event in happened)
            facts = moment.facts - action.removed | action.added if done else moment.facts
            return self._moment(facts, moment.completed, told(raw), raw)

    def _moment(self, facts: Facts, before: frozenset[int], text: str, raw: str) -> Moment:
        completed, lost = self._judge(facts, before)
        reward = sum(self.game.quests[i].reward for i in completed) / self.game.max_score
        over = "You lost!" if lost else "The End" if reward == 1 else None
        if raw and ending(raw) != over:
            raise TaskFileError(f"{self._path}: the story says {ending(raw)!r} where its logic says {over!r}: {text}")
        choices = {} if over else self._choices(facts)
        seen = Observation(text, tuple(choices), reward, done=over is not None)
        return Moment(facts, completed, tuple(choices.values()), self._story.memory(), seen)

    def _judge(self, facts: Facts, completed: frozenset[int]) -> tuple[frozenset[int], bool]:
        """The quests completed by now, and whether one has failed; a completed one cannot fail any more."""
        going = [(i, quest) for i, quest in enumerate(self.game.quests) if i not in completed]
        lost = any(_happens(quest.fail_events, facts) for _, quest in going)
        return completed | {i for i, quest in going if _happens(quest.win_events, facts)}, lost

    def _admissible(self, facts: Facts) -> dict[str, Any]:
        """The admissible commands, sorted, each with its action; of two the one that asks for more, as in TextWorld."""
        kb = self.game.kb
        state = LogicState(kb.logic, facts)
        applicable = state.all_applicable_actions(kb.rules.values(), kb.types.constants_mapping)
        actions = sorted(applicable, key=lambda action: len(action.preconditions))
        choices = dict(zip(self.commands(actions), actions, strict=True))
        return dict(sorted(choices.items()))


def _happens(events: Iterable[Any], facts: Facts) -> bool:
    return any(facts.issuperset(event.condition.preconditions) for event in events)
