"""OpenEnv's own package on both sides of the wire: what we serve is played by its client, what it serves by us."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from agentprm_dagster.envs.alfworld.games import find_games
from agentprm_dagster.envs.alfworld.generate import generate_games
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.envs.base import Expert, ExpertGaveUp
from agentprm_dagster.envs.check import problems
from agentprm_dagster.envs.openenv.kind import KIND
from agentprm_dagster.envs.openenv.settings import Settings
from agentprm_dagster.episodes.records import Observation
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import verify
from chat_servers import free_port
from installed import call, run
from pages import ROOT
from real_servers import HOST, started

pytestmark = pytest.mark.servers

GUESSING = {
    "reset": {"seed": "{number}"},
    "action_field": "message",
    "text_field": "hint.text",
    "commands_field": None,
    "commands": [f"guess {number}" for number in range(1, 7)],
    "truncated_field": "over",
    "reward": {"of": "last", "lost_at": -1.0, "won_at": 10.0},
    "refusal": "Nothing happens.",
    "task": "guess the number",
    "rules": "You say one of six numbers.",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("games")
    generate_games(folder, seed=9, counts={"train": 6, "valid_seen": 6, "valid_unseen": 6}, size="small")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


def household(stack: ExitStack, root: Path, folder: Path, *options: str) -> str:
    """`agentprm serve --openenv` until the stack ends; its address."""
    port = free_port()
    command = ["agentprm", "serve", "--openenv", "--games", str(root), "--port", str(port), *options]
    url = f"http://{HOST}:{port}"
    stack.enter_context(started(command, {}, folder / f"serve-{port}.log", f"{url}/health"))
    return url


@pytest.fixture(scope="module")
def served(root: Path, folder: Path) -> Iterator[str]:
    with ExitStack() as stack:
        yield household(stack, root, folder)


def guess(stack: ExitStack, folder: Path, **variables: str) -> str:
    """The guessing environment until the stack ends; its address."""
    port = free_port()
    command = ["uvicorn", "guess_server:app", "--host", HOST, "--port", str(port)]
    url = f"http://{HOST}:{port}"
    told = {"PYTHONPATH": str(ROOT / "tests"), **variables}
    stack.enter_context(started(command, told, folder / f"guess-{port}.log", f"{url}/health"))
    return url


def client(stack: ExitStack, url: str) -> Any:
    """OpenEnv's own."""
    from openenv.core import GenericEnvClient

    return stack.enter_context(GenericEnvClient(base_url=url).sync())


def advice(expert: Expert, seen: Observation) -> str | None:
    """The expert's next command; None where it gives up."""
    try:
        return expert.act(seen)
    except ExpertGaveUp:
        return None


def plays_alike(played: Any, game: PlayableGame) -> int:
    """An episode of the handcoded expert, over the wire and in this process; how many commands it had."""
    environment, expert = game.environment(), game.expert("handcoded", 0)
    seen, told, commands = environment.reset(), played.reset(game=game.id), 0
    while True:
        observation = told.observation
        assert (observation["text"], observation["admissible_commands"]) == (seen.text, list(seen.commands))
        assert (bool(told.done), observation["won"], observation["game"]) == (seen.done, seen.won, game.id)
        assert (told.reward or 0.0) == seen.reward
        if seen.done or (command := advice(expert, seen)) is None:
            return commands
        seen, told, commands = environment.step(command), played.step({"command": command}), commands + 1


def test_openenvs_client_plays_as_in_this_process(served: str, root: Path) -> None:
    games = [PlayableGame(ref) for split in ("train", "valid_seen") for ref in find_games(root, split)]
    with ExitStack() as stack:
        played = client(stack, served)
        assert sum(plays_alike(played, game) for game in games) > 60


def test_every_client_has_a_game_of_its_own(served: str, root: Path) -> None:
    games = [PlayableGame(ref) for ref in find_games(root, "train")[:3]]
    with ExitStack() as stack:
        several = [(client(stack, served), game.environment()) for game in games]
        for (played, environment), game in zip(several, games, strict=True):
            assert played.reset(game=game.id).observation["text"] == environment.reset().text
        for _ in range(4):
            for played, environment in several:
                command = environment.step("look").commands[-1]
                played.step({"command": "look"})
                assert played.step({"command": command}).observation["text"] == environment.step(command).text


def test_resets_choose_the_game(served: str, root: Path) -> None:
    train, seen = ([ref.id for ref in find_games(root, split)] for split in ("train", "valid_seen"))
    with ExitStack() as stack:
        played = client(stack, served)

        def game(**told: Any) -> str:
            return str(played.reset(**told).observation["game"])

        assert [game(), game(), game(seed=7), game(split="valid_seen", index=2)] == [
            train[0],
            train[1],
            seen[1],
            seen[2],
        ]
        mistakes: list[tuple[dict[str, Any], str]] = [
            ({"game": "nosuch"}, "expected one of 18 games"),
            ({"split": "valid_seen"}, "expected both split and index"),
            ({"split": "valid_seen", "index": 6}, "expected an index from 0 to 5"),
            ({"split": "test", "index": 0}, "expected a split, one of train, valid_seen, valid_unseen"),
            ({"level": 1}, "expected a reset with seed, game, or split and index, got level"),
        ]
        for wrong, words in mistakes:
            with pytest.raises(RuntimeError, match=words):
                played.reset(**wrong)


def test_the_stock_engine_and_a_step_limit(root: Path, folder: Path) -> None:
    ref = find_games(root, "train")[0]
    with ExitStack() as stack:
        stock = client(stack, household(stack, root, folder, "--engine", "stock", "--max-steps", "2"))
        environment = PlayableGame(ref).environment()
        seen, told = environment.reset(), stock.reset(game=ref.id)
        for step in range(3):
            assert told.observation["text"] == seen.text
            assert told.observation["admissible_commands"] == list(seen.commands)
            assert (told.done, told.observation["truncated"]) == (step == 2, step == 2)
            if step < 2:
                command = seen.commands[-1]
                seen, told = environment.step(command), stock.step({"command": command})
        with pytest.raises(RuntimeError, match=r"expected reset\(\) before the command"):
            stock.step({"command": "look"})


def test_openenv_validates_what_is_served(served: str, folder: Path) -> None:
    for target in (
        ["--url", served, "--timeout", "60"],
        [str(ROOT / "deploy/openenv"), "--level", "static", "--skip-build"],
    ):
        program = str(Path(sys.executable).with_name("openenv"))
        done = subprocess.run([program, "validate", *target, "--json"], capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        report = json.loads(done.stdout)
        assert report.get("passed", report.get("verdict") != "fail"), done.stdout


def test_both_pass_the_check_of_environments(served: str, folder: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        for settings in (
            Settings(url=served, train=6, valid_seen=6, valid_unseen=6, sessions=2),
            Settings.model_validate({"url": guess(stack, folder), "train": 8, "valid_seen": 4, **GUESSING}),
        ):
            assert list(problems(KIND, settings, seed=0, folder=tmp_path)) == []
        drawing = {"url": guess(stack, folder, GUESS_DRAWS="1"), "train": 8, "valid_seen": 4, **GUESSING}
        found = "\n".join(problems(KIND, Settings.model_validate(drawing), seed=0, folder=tmp_path, tasks=8))
        assert "two resets are not observed alike" in found or "it does not replay" in found


def test_the_household_over_the_wire_is_the_household(served: str, root: Path, tmp_path: Path) -> None:
    tasks = KIND.task_set(Settings(url=served, train=6, valid_seen=6), seed=0, folder=tmp_path).tasks("train")
    for ref, game in zip(tasks, find_games(root, "train"), strict=True):
        there, here = KIND.open(ref).environment(), PlayableGame(game)
        environment, expert = here.environment(), here.expert("handcoded", 0)
        seen, first = environment.reset(), there.reset()
        assert first.text.partition("\n\n")[2] == seen.text
        while not seen.done and (command := advice(expert, seen)) is not None:
            seen = environment.step(command)
            assert there.step(command) == seen


LOOP = """
extends: smoke
iterations: 1
environment: {settings}
demonstrations: {{episodes: 48, expert: trial, max_steps: 2}}
rollouts: {{games: 8, per_game: 4, max_steps: 2}}
evaluation: {{splits: [valid_seen], max_steps: 2}}
"""


def test_the_loop_runs_on_what_somebody_serves(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    with ExitStack() as stack:
        environment = {"kind": "openenv", "url": guess(stack, folder), "train": 8, "valid_seen": 4, **GUESSING}
        experiment = LOOP.format(settings=json.dumps(environment))
        (tmp_path / "experiments/guess.yaml").write_text(experiment, encoding="utf-8")
        assert "nothing wrong was found" in run(tmp_path, "env", "check", "guess")
        run(tmp_path, "run", "guess")
        run(tmp_path, "export", "guess", str(tmp_path / "bundle"), "-i", "1")
        checked = call(tmp_path / "stranger", "check", str(tmp_path / "bundle"))
        assert checked.returncode == 0, checked.stdout + checked.stderr
    store = ArtifactStore(tmp_path / "home/artifacts")
    assert verify(store).sound
    shown = read_episodes(store.current("guess", "demonstrations", 0).path)
    assert all(episode.won for episode in shown)
    rows = json.loads(run(tmp_path, "report", "guess", "--json"))
    assert {row["policy"] for row in rows} >= {"pi_0", "pi_1"}
    assert {row["n"] for row in rows} == {4}
