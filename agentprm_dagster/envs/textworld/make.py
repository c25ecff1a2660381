"""Makes one game with TextWorld's own makers (`textworld.challenges`) and compiles it with its Inform 7.

Only the worker process (`worker.py`) imports this: it patches TextWorld, and what it draws hangs on the order of sets.
Drawing takes some 20 ms and compiling half a second. TextWorld also plays games that are not compiled
(`textworld.envs.tw`), but says nothing then: the texts are the compiled story's.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import textworld
from textworld.challenges.tw_coin_collector import coin_collector
from textworld.challenges.tw_cooking import cooking
from textworld.challenges.tw_treasure_hunter import treasure_hunter
from textworld.generator import compile_game
from textworld.generator.data import KnowledgeBase
from textworld.generator.game import GameOptions, GameProgression
from textworld.generator.inform7 import Inform7Game
from textworld.generator.maker import GameMaker

from agentprm_dagster.envs.textworld.game_file import write_game
from agentprm_dagster.envs.textworld.plan import Plan

_THEMES = {"plain": "basic", "house": "house"}
_SERIAL = slice(0x12, 0x18)
"""Where a story file has the day it was compiled on."""


def speed_up() -> None:
    """Patches TextWorld in this process: two thirds of its time go into what need not be done.

    Its rules are read once and not for every game, and a walkthrough is followed by the game's logic, where TextWorld
    compiles the game for it and plays it.
    """
    KnowledgeBase.load = lru_cache(None)(KnowledgeBase.load)
    GameMaker.set_walkthrough = _set_walkthrough


def draw_game(plan: Plan, attempt: int) -> Any:
    """A `textworld.Game`; the same arguments give the same game.

    Raises:
        Exception: whatever TextWorld raises where nothing comes of what was drawn; another attempt may fare better.
    """
    number = int.from_bytes(hashlib.sha256(f"{plan.seed} {attempt}".encode()).digest()[:4], "big")
    textworld.g_rng.set_seed(number)
    options = GameOptions()
    options.seeds = number
    options.grammar.theme = _THEMES[plan.prose]
    options.grammar.only_last_action = True  # else the task tells the whole way
    options.grammar.allowed_variables_numbering = True
    return _MAKERS[plan.kind](options, **plan.difficulty)


def content_digest(game: Any) -> str:
    """sha256, in hex, over what is true at the game's start and what wins and loses it, by the names of things."""
    names = {id_: info.name or id_ for id_, info in game.infos.items()}

    def told(facts: Any) -> list[str]:
        return sorted(f"{fact.name} {[(names.get(v.name, v.name), v.type) for v in fact.arguments]}" for fact in facts)

    def conditions(events: Any) -> list[list[str]]:
        return sorted(told(event.condition.preconditions) for event in events)

    quests = sorted((conditions(quest.win_events), conditions(quest.fail_events)) for quest in game.quests)
    return hashlib.sha256(json.dumps([told(game.world.facts), quests]).encode()).hexdigest()


def compile_to(game: Any, path: Path) -> None:
    """Compiles a game and writes its file, which is there at once or not at all."""
    with TemporaryDirectory() as folder:
        options = GameOptions()
        options.path = str(Path(folder) / "game.z8")
        story = bytearray(Path(compile_game(game, options)).read_bytes())
    story[_SERIAL] = b"000000"
    data = game.serialize()
    data["KB"]["text_grammars_path"] = ""  # a path of this machine, which only making texts reads
    write_game(path, data, bytes(story))


def _cooking(options: Any, *, ingredients: int, rooms: int, food: str) -> Any:
    skills = {"recipe": ingredients, "take": ingredients, "go": rooms, "open": True, "cook": True, "cut": True}
    return cooking.make({**skills, "drop": False, "recipe_seed": 0, "split": food}, options)


def _coin_collector(options: Any, *, distance: int) -> Any:
    options.kb = KnowledgeBase.load(coin_collector.KB_PATH)
    options.quest_length = distance + 1
    options.nb_rooms = 2 * options.quest_length
    return coin_collector.make_game("simple", options)


def _treasure_hunter(options: Any, *, rooms: int, distance: int) -> Any:
    options.kb = KnowledgeBase.load(treasure_hunter.KB_PATH)
    options.quest_length = distance + 1
    options.nb_rooms = rooms
    return treasure_hunter.make_game("easy", options)


_MAKERS: dict[str, Callable[..., Any]] = {
    "cooking": _cooking,
    "coin_collector": _coin_collector,
    "treasure_hunter": _treasure_hunter,
}


def _set_walkthrough(maker: Any, commands: Sequence[str]) -> None:
    """`GameMaker.set_walkthrough` without its compiler: which actions lead up to each of the quests' events."""
    game = maker.build()
    progression, inform7 = GameProgression(game), Inform7Game(game)
    waiting = {followed.event: followed for quest in progression.quest_progressions for followed in quest.win_events}
    actions: list[Any] = []
    found: dict[Any, tuple[list[Any], Sequence[str]]] = {}
    for i, command in enumerate(commands, 1):
        valid = progression.valid_actions
        here = dict(zip(inform7.gen_commands_from_actions(valid), valid, strict=True))
        if command not in here:
            continue  # it opens what is open already
        actions.append(here[command])
        progression.update(here[command])
        for event in [event for event, followed in waiting.items() if followed.triggered]:
            del waiting[event]
            found[event] = list(actions), commands[:i]
    for event, (led, commands_so_far) in found.items():
        event.actions, event.commands = led, commands_so_far
