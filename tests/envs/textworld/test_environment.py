"""Games in play: as TextWorld plays them, but free of what is not of their world, and set back to any state."""

import json
import os
import random
import re
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agentprm_dagster.envs.base import TaskFileError, TaskRef
from agentprm_dagster.envs.check import problems
from agentprm_dagster.envs.textworld.engine import Engine
from agentprm_dagster.envs.textworld.environment import TextWorld
from agentprm_dagster.envs.textworld.game_file import write_game
from agentprm_dagster.envs.textworld.kind import KIND
from agentprm_dagster.envs.textworld.language import REFUSAL, WORDING
from agentprm_dagster.envs.textworld.playable import PlayableGame
from agentprm_dagster.envs.textworld.settings import Settings
from agentprm_dagster.envs.textworld.told import told
from agentprm_dagster.episodes.records import Observation

PARSER_ERRORS = (
    "That's not a verb I recognise",
    "You can't see any such thing",
    "I didn't understand",
    "I only understood",
    "I beg your pardon",
    "Which do you mean",
    "You can't go that way",
)


def walk(game: PlayableGame, seed: int, steps: int = 25) -> list[tuple[str, Observation]]:
    """Random commands, half of them a demonstrator's, and what was observed behind each."""
    environment, expert, rng = game.environment(), game.expert("policy", seed), random.Random(seed)
    seen = environment.reset()
    walked: list[tuple[str, Observation]] = []
    while not seen.done and len(walked) < steps:
        advice = expert.act(seen)
        command = advice if rng.random() < 0.5 else rng.choice(seen.commands)
        seen = environment.step(command)
        walked.append((command, seen))
    return walked


def replayed(game: PlayableGame, commands: list[str]) -> list[Observation]:
    environment = game.environment()
    return [environment.reset(), *(environment.step(command) for command in commands)]


def walkthrough(game: PlayableGame) -> list[str]:
    """The commands that win a game."""
    environment, expert = game.environment(), game.expert("policy", 0)
    seen, commands = environment.reset(), []
    while not seen.done:
        commands.append(expert.act(seen))
        seen = environment.step(commands[-1])
    return commands


def test_it_is_what_environments_are(few: Settings, made: Path) -> None:
    assert list(problems(KIND, few, seed=7, folder=made, tasks=6)) == []


def test_it_begins_with_the_task_and_the_room(cooking: PlayableGame, coin: PlayableGame) -> None:
    first = coin.environment().reset()
    assert re.fullmatch(r"The objective is to take the coin in room\d+\.", WORDING.task(first.text))
    assert re.match(r"-= Room\d+ =-\nYou are in the room\d+\.\nThere is an exit to the ", first.text.split("\n\n")[1])
    assert first.reward == 0
    assert not first.done
    assert WORDING.task(cooking.environment().reset().text).startswith("You are hungry!")


@pytest.mark.filterwarnings("ignore::jericho.UnsupportedGameWarning")
def test_it_plays_as_textworld_does(games: list[PlayableGame], tmp_path: Path) -> None:
    import textworld

    infos = textworld.EnvInfos(admissible_commands=True, score=True, max_score=True, won=True, lost=True)
    for game in games:
        with zipfile.ZipFile(game.ref.path) as file:
            file.extractall(tmp_path)
        stock = textworld.start(str(tmp_path / "game.z8"), infos)
        for seed in range(3):
            state = stock.reset()
            assert tuple(state.admissible_commands) == game.environment().reset().commands
            for command, seen in walk(game, seed):
                state, _, _ = stock.step(command)
                assert seen.text == told(state.feedback)
                assert seen.reward == state.score / state.max_score
                assert (seen.won, seen.done) == (state.won, state.won or state.lost)
                assert seen.done or list(seen.commands) == state.admissible_commands
        stock.close()


def test_texts_hold_nothing_but_the_world(games: list[PlayableGame]) -> None:
    for game in games:
        texts = [game.environment().reset().text, *(seen.text for _, seen in walk(game, 3))]
        for text in texts:
            assert not re.search(r"[$\\|>\[\]/]|\*\*\*|score|\bturns?\b|RESTART|Serial|\d{4}|  |\n\n\n", text), text
            assert text == text.strip() != ""


def test_the_reward_rises_to_1(games: list[PlayableGame]) -> None:
    for game in games:
        rewards = [seen.reward for seen in replayed(game, walkthrough(game))]
        assert rewards == sorted(rewards)
        assert rewards[0] == 0
        assert [reward == 1 for reward in rewards] == [False] * (len(rewards) - 1) + [True]


def test_a_lost_game_is_over_and_stays_so(cooking: PlayableGame) -> None:
    commands = walkthrough(cooking)
    cook = next(i for i, command in enumerate(commands) if command.startswith("cook"))
    *_, before, lost = replayed(cooking, [*commands[: cook + 1], commands[cook]])
    assert lost.done
    assert not lost.won
    assert before.reward == lost.reward < 1
    assert lost.commands == ()
    assert replayed(cooking, [*commands[: cook + 1], commands[cook], "look"])[-1] == lost


@pytest.mark.parametrize(
    "command",
    ["save", "restore", "restart", "quit", "undo", "print_state", "tw-print max_score", "get knife", "drop all",
     "take knife. look", "look then look", "again", "version", "", "xyzzy", "examine the cookbook\nlook", "a" * 5000],
)  # fmt: skip
def test_only_admissible_commands_reach_the_game(
    command: str, cooking: PlayableGame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = cooking.environment()
    assert isinstance(environment, TextWorld)
    first, state = environment.reset(), environment.state()
    seen = environment.step(command)
    assert (seen.text, seen.commands, seen.reward, seen.done) == (REFUSAL, first.commands, 0, False)
    assert environment.state() == state
    assert environment.step("look").text == first.text.split("\n\n")[1]
    assert list(tmp_path.iterdir()) == []


def test_the_story_has_the_last_word(cooking: PlayableGame) -> None:
    """TextWorld's logic would prepare a meal of raw food."""
    commands = walkthrough(cooking)
    taken = next(i for i, command in enumerate(commands) if command.startswith("cook"))
    environment = cooking.environment()
    assert isinstance(environment, TextWorld)
    for command in commands[:taken]:
        before = environment.step(command)
    state = environment.state()
    seen = environment.step("prepare meal")
    assert seen.text == "Something still needs to be cooked."
    assert (seen.commands, seen.reward, environment.state()) == (before.commands, before.reward, state)
    for command in commands[taken:]:
        seen = environment.step(command)
    assert seen.won


def test_admissible_commands_are_understood(games: list[PlayableGame]) -> None:
    for game in games[:3]:
        environment = game.environment()
        assert isinstance(environment, TextWorld)
        environment.reset()
        for command in walkthrough(game):
            here = environment.snapshot()
            for other in environment.restore(here).commands:
                environment.restore(here)
                assert not environment.step(other).text.startswith((REFUSAL, *PARSER_ERRORS)), other
            environment.restore(here)
            environment.step(command)


def test_snapshots_restore_anywhere(games: list[PlayableGame]) -> None:
    for game in games:
        walked = walk(game, 1)
        environment = game.environment()
        assert isinstance(environment, TextWorld)
        snapshots = [environment.snapshot()]
        for command, _ in walked:
            environment.step(command)
            snapshots.append(environment.snapshot())
        other = PlayableGame(game.ref).environment()  # the file is read again
        assert isinstance(other, TextWorld)
        for cut in (len(walked) // 2, 0, len(walked) - 1, len(walked) // 2):
            for one in (environment, other):
                assert one.restore(snapshots[cut]) == (walked[cut - 1][1] if cut else game.environment().reset())
                assert [one.step(command) for command, _ in walked[cut:]] == [seen for _, seen in walked[cut:]]
                assert one.state() == (snapshots[-1].moment.facts, snapshots[-1].moment.completed)
        assert [seen for _, seen in walked] == replayed(game, [command for command, _ in walked])[1:]


def test_snapshots_of_others_are_refused(cooking: PlayableGame, coin: PlayableGame) -> None:
    one, other = cooking.environment(), coin.environment()
    assert isinstance(one, TextWorld)
    assert isinstance(other, TextWorld)
    with pytest.raises(ValueError, match=rf"a snapshot of the game {cooking.id}, got one of {coin.id}"):
        one.restore(other.snapshot())
    with pytest.raises(TypeError, match="got 3"):
        one.restore(3)


def test_states_are_where_things_are_and_what_was_done(coin: PlayableGame) -> None:
    environment = coin.environment()
    assert isinstance(environment, TextWorld)
    states = {environment.state()}
    start = environment.state()
    go, *_ = (command for command in environment.reset().commands if command.startswith("go"))
    back = {"north": "south", "south": "north", "east": "west", "west": "east"}[go.split()[1]]
    for command, same in (("look", True), ("inventory", True), (go, False), (f"go {back}", True)):
        environment.step(command)
        assert (environment.state() == start) == same
        states.add(environment.state())
    assert len(states) == 2


def test_equal_states_play_on_alike(games: list[PlayableGame]) -> None:
    """But for the order in which things are listed."""
    for game in games:
        environment = game.environment()
        assert isinstance(environment, TextWorld)
        known: dict[Any, Any] = {}
        for seed in range(4):
            rng, seen = random.Random(seed), environment.reset()
            for _ in range(30):
                command, before = rng.choice(seen.commands), environment.state()
                seen = environment.step(command)
                words = sorted(re.findall(r"\w+", seen.text))
                led = (environment.state(), seen.commands, seen.reward, seen.done, words)
                assert known.setdefault((before, command), led) == led
                if seen.done:
                    break


def test_threads_do_not_disturb_each_other(games: list[PlayableGame]) -> None:
    walks = [walk(game, seed) for game in games[:3] for seed in range(4)]
    fresh = [PlayableGame(game.ref) for game in games[:3]]  # remembers nothing yet
    commands = [[command for command, _ in walked] for walked in walks]
    with ThreadPoolExecutor(6) as pool:
        played = pool.map(lambda i: replayed(fresh[i // 4], commands[i])[1:], range(len(walks)))
        assert list(played) == [[seen for _, seen in walked] for walked in walks]


def test_another_process_observes_and_advises_the_same(games: list[PlayableGame]) -> None:
    program = """
import json, sys
from pathlib import Path
from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.envs.textworld.playable import PlayableGame
for id, kind, path, commands in json.load(sys.stdin):
    game = PlayableGame(TaskRef("textworld", id, kind, Path(path)))
    environment, expert = game.environment(), game.expert("search", 5)
    seen, told = environment.reset(), []
    for command in commands:
        told.append([seen.text, seen.commands, seen.reward, expert.act(seen)])
        seen = environment.step(command)
    print(json.dumps([*told, seen.text]))
"""
    asked = [(game.id, game.kind, str(game.ref.path), [command for command, _ in walk(game, 2)]) for game in games[:6]]
    answers = [
        subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert answers[0] == answers[1]
    for line, game, (*_, commands) in zip(answers[0].splitlines(), games, asked, strict=False):
        *told_before, last = json.loads(line)
        seen = replayed(game, commands)
        assert [text for text, *_ in told_before] == [each.text for each in seen[:-1]]
        assert last == seen[-1].text


def test_files_of_other_things_are_refused(cooking: PlayableGame, tmp_path: Path) -> None:
    with zipfile.ZipFile(cooking.ref.path) as file:
        story = file.read("game.z8")
    write_game(tmp_path / "game.zip", {"version": 1}, story)
    with pytest.raises(TaskFileError, match=r"expected a game of TextWorld 1\.7\.\d+, got KeyError.*made again"):
        Engine(tmp_path / "game.zip")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(TaskFileError, match=r"expected a zip of game\.json and game\.z8"):
        Engine(tmp_path / "text.zip")
    with pytest.raises(FileNotFoundError):
        Engine(tmp_path / "none.zip")
    ref = TaskRef("textworld", "train/cooking/00000", "cooking", tmp_path / "none.zip")
    assert PlayableGame(ref).kind == "cooking", "nothing is read before it is played"
