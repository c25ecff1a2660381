"""What others serve, as agents meet it: played, replayed, shared between sessions, and refused where it is wrong."""

import json
import os
import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agentprm_dagster.envs.base import TaskFileError, TasksNotFoundError
from agentprm_dagster.envs.check import problems
from agentprm_dagster.envs.openenv.environment import ServedEnvironment
from agentprm_dagster.envs.openenv.errors import (
    NotDeterministicError,
    ServedEnvironmentError,
    ServerGoneError,
    UnexpectedReplyError,
)
from agentprm_dagster.envs.openenv.kind import KIND
from agentprm_dagster.envs.openenv.session import Session
from agentprm_dagster.envs.openenv.sessions import sessions_with
from agentprm_dagster.envs.openenv.settings import Settings
from agentprm_dagster.envs.openenv.tasks import FILE, ServedTask, filled_in
from agentprm_dagster.episodes.records import Turn
from agentprm_dagster.rollouts.replay import Replay
from openenv_stub import COMMANDS, Counting, Reply, Stub, counting_server, failed, told


@pytest.fixture
def server() -> Iterator[Stub]:
    with counting_server() as stub:
        yield stub


def settings(server: Stub, **changed: Any) -> Settings:
    """Of the stub, with a session more than a test opens, unless it says otherwise."""
    usual = {"train": 6, "valid_seen": 3, "reset": {"seed": "{number}"}, "seconds": 5.0}
    return Settings.model_validate({"url": server.url, **usual, **changed})


def environment(server: Stub, seed: int = 0, **changed: Any) -> ServedEnvironment:
    return ServedEnvironment(settings(server, **changed), {"seed": seed})


def test_an_episode(server: Stub) -> None:
    played = environment(server, seed=1, rules="Add up.")
    first = played.reset()
    assert first.text == "Task: reach 3.\n\nAdd up.\n\nYou stand at 0.\nYour task is to: reach 3."
    assert KIND.wording.task(first.text) == "reach 3."
    assert (first.admissible_commands, first.reward, first.done) == (tuple(sorted(COMMANDS)), 0.0, False)
    seen = played.step("add two")
    assert (seen.text, seen.done) == ("You stand at 2.", False)
    assert seen.reward == pytest.approx(2 / 3)
    last = played.step("add one")
    assert (last.text, last.reward, last.won, last.done) == ("You stand at 3.", 1.0, True, True)
    before = len(server.asked)
    assert played.step("add one") == last
    assert len(server.asked) == before, "what is over is not asked"


def test_a_command_needs_a_reset(server: Stub) -> None:
    with pytest.raises(ServedEnvironmentError, match="expected a reset before the command 'wait'"):
        environment(server).step("wait")


@pytest.mark.parametrize("sessions", [1, 2, 8])
def test_episodes_that_share_sessions_do_not_notice(server: Stub, sessions: int) -> None:
    several = [environment(server, seed, sessions=sessions) for seed in range(5)]
    alone = [environment(server, seed, sessions=64, seconds=6.0) for seed in range(5)]
    rng = random.Random(0)
    assert [each.reset() for each in several] == [each.reset() for each in alone]
    for _ in range(30):
        i, command = rng.randrange(5), rng.choice(COMMANDS)
        assert several[i].step(command) == alone[i].step(command)
    assert server.sessions <= sessions + 5


def test_a_session_is_free_when_its_episode_is_over_or_forgotten(server: Stub) -> None:
    for seed in range(4):
        played = environment(server, seed=0)
        played.reset()
        if seed % 2:
            assert played.step("add two").done
        del played
    assert server.sessions == 1


def test_branches_are_replayed(server: Stub, tmp_path: Path) -> None:
    (ref, *_) = KIND.task_set(settings(server, reset={"seed": "{number}"}), seed=0, folder=tmp_path).tasks("train")
    task = ServedTask(ref)
    turns = [Turn("", "add one", "You stand at 1.", ""), Turn("", "wait", "You stand at 1.", "")]
    replay = Replay(task, turns)
    opened, seen = replay.open(1)
    assert (seen.text, opened.step("add one").won) == ("You stand at 1.", True)
    with pytest.raises(RuntimeError, match="does not replay"):
        Replay(task, [Turn("", "add one", "You stand at 7.", "")])


class Drawing(Counting):
    """Stands somewhere else after every reset."""

    resets = count()

    def answer(self, asked: Reply) -> Reply:
        reply = super().answer(asked)
        if asked["type"] == "reset":
            reply["data"]["observation"]["text"] += f" Draw {next(self.resets)}."
        return reply


def test_what_does_not_replay_is_refused(server: Stub) -> None:
    server.new = Drawing
    one, other = environment(server, sessions=1), environment(server, sessions=1)
    one.reset()
    other.reset()
    with pytest.raises(NotDeterministicError, match="0 commands behind the reset"):
        one.step("wait")


def test_env_check_passes_what_is_right_and_finds_what_draws(server: Stub, tmp_path: Path) -> None:
    said = settings(server, refusal="Nothing happens.", valid_unseen=2)
    assert list(problems(KIND, said, seed=0, folder=tmp_path)) == []
    server.new = Drawing
    sessions_with(server.url, 5.0, 64).close()
    assert "two resets are not observed alike" in "\n".join(problems(KIND, said, seed=0, folder=tmp_path, tasks=1))


def replying(server: Stub, kind: str, reply: Any) -> None:
    """The next answers to resets or steps."""
    server.instead = lambda asked: reply if asked["type"] == kind else None


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("not json", "expected an observation as OpenEnv sends it"),
        ("[" * 100_000, "expected an observation as OpenEnv sends it"),
        ({"type": "observation", "data": {"observation": {}}}, "done: Field required"),
        ({"type": "observation", "data": {"observation": [], "done": False}}, "observation: Input should be a valid"),
        ({"type": "observation", "data": {"observation": {}, "done": "yes"}}, "done: Input should be a valid boolean"),
        ('{"type": "observation", "data": {"observation": {}, "done": false, "reward": NaN}}', "reward: Input should"),
        ({"type": "observation", "data": {"observation": {"say": "x"}, "done": False}}, r"'text' .*its fields: say"),
        (told(7), r"expected a text at 'text' .*got 7"),  # type: ignore[arg-type]
        (told("x", admissible_commands="look"), "expected a list of texts at 'admissible_commands'"),
        (told("x", done=True, truncated="no"), "expected true or false at 'truncated'"),
        (told("x", 1.5), r"stays between environment.reward.lost_at: 0 and environment.reward.won_at: 1, got 1.5"),
        (told("x", -0.1), "got -0.1"),
        ({"type": "state", "data": {}}, "expected an observation in answer to .*, got state"),
    ],
)
def test_a_reply_that_is_wrong_is_named(server: Stub, reply: Any, words: str) -> None:
    played = environment(server)
    played.reset()
    replying(server, "step", reply)
    with pytest.raises(UnexpectedReplyError, match=words):
        played.step("wait")


def test_what_the_server_cannot_do_is_told_where_the_settings_say_how(server: Stub) -> None:
    strict, kind = environment(server), environment(server, refusal="You cannot.")
    first = strict.reset(), kind.reset()
    with pytest.raises(ServedEnvironmentError, match=r"EXECUTION_ERROR: what is 'dance'\?; .* environment.refusal"):
        strict.step("dance")
    assert kind.step("dance").text == "You cannot."
    assert kind.step("add two").won, "nothing has changed by it"
    assert first[0] == first[1]
    replying(server, "step", failed("SESSION_ERROR", "no"))
    kind.reset()
    with pytest.raises(ServedEnvironmentError, match="SESSION_ERROR"):
        kind.step("wait")


def test_a_server_that_allows_one_client_will_do(server: Stub) -> None:
    server.most = 1
    one, other = environment(server, seed=1), environment(server, seed=2)
    one.reset()
    other.reset()
    assert [each.step("add two").text for each in (one, other)] == [
        "You stand at 2.", "You stand at 2."
    ]  # fmt: skip


def test_a_server_that_others_fill_is_told(server: Stub) -> None:
    server.most = 1
    other = Session(server.url, 5.0)
    with pytest.raises(ServedEnvironmentError, match=r"CAPACITY_REACHED: no session is free; have the server allow"):
        environment(server).reset()
    other.close()


def test_a_server_that_hangs(server: Stub) -> None:
    played = environment(server, seconds=0.2)
    played.reset()

    def hang(asked: Reply) -> None:
        server.ended.wait()

    server.instead = hang
    with pytest.raises(ServerGoneError, match=r"within 0.2 s \(environment.seconds\) to .*\"command\": \"wait\""):
        played.step("wait")


def test_a_server_that_ends() -> None:
    with counting_server() as server:
        played = environment(server, seed=2)
        played.reset()
        played.step("add one")
    for _ in range(2):
        with pytest.raises(ServerGoneError, match=r"the connection ended|an OpenEnv server at http://127.0.0.1:\d+ \("):
            played.step("add one")


def test_a_server_that_ended_and_came_back(server: Stub) -> None:
    several = [environment(server, seed) for seed in (1, 2)]
    assert [each.reset().text[-2:] for each in several] == ["3.", "4."]
    several[1].step("add one")
    replying(server, "step", "not json")  # for which the client leaves
    with pytest.raises(UnexpectedReplyError):
        several[0].step("wait")
    server.instead = lambda asked: None
    server.restarted()
    assert several[1].step("add two").text == "You stand at 3."
    assert several[0].reset().reward == 0


def test_a_connection_that_was_lost_is_made_up_for(server: Stub) -> None:
    played = environment(server, seed=2)
    played.reset()
    played.step("add one")
    sessions_with(server.url, 5.0, 64).close()
    assert played.step("add two").text == "You stand at 3."
    assert [asked["type"] for asked in server.asked] == ["reset", "step", "reset", "step", "step"]


def test_a_process_that_was_forked_has_sessions_of_its_own(server: Stub) -> None:
    assert sessions_with(server.url, 5.0, 64) is sessions_with(server.url, 5.0, 64)
    read, write = os.pipe()
    here = sessions_with(server.url, 5.0, 64)
    if (child := os.fork()) == 0:
        os.write(write, b"own" if sessions_with(server.url, 5.0, 64) is not here else b"shared")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 10) == b"own"


def test_fields_may_lie_deep_and_the_reward_be_mapped(server: Stub) -> None:
    deep: Any = {"messages": [{"content": "no"}, {"content": "Sum: 1."}]}
    changed: Any = {
        "text_field": "messages.-1.content",
        "commands_field": None,
        "commands": ["wait", "add one"],
        "truncated_field": None,
        "action_field": "message",
        "action_rest": {"type": "say"},
        "task": "Count.",
        "reward": {"of": "last", "lost_at": -10.0, "won_at": 10.0},
    }
    server.instead = lambda asked: told("", {"reset": None, "step": 5.0}[asked["type"]], **deep)
    played = environment(server, **changed)
    first, seen = played.reset(), played.step("add one")
    assert first.text == "Task: Count.\n\nSum: 1."
    assert (first.admissible_commands, first.reward) == (("add one", "wait"), 0.5)
    assert (seen.text, seen.reward) == ("Sum: 1.", 0.75)
    assert server.asked[-1]["data"] == {"type": "say", "message": "add one"}


def test_tasks(server: Stub, tmp_path: Path) -> None:
    tasks = KIND.task_set(settings(server), seed=0, folder=tmp_path)
    assert [task.id for task in tasks.tasks("train")] == [f"train/{i:06}" for i in range(6)]
    assert len(tasks.tasks("valid_seen")) == 3
    with pytest.raises(TasksNotFoundError, match="valid_unseen"):
        tasks.tasks("valid_unseen")
    (ref, *_) = tasks.tasks("train")
    assert ref.path.name == FILE
    more = KIND.task_set(settings(server, train=9), seed=1, folder=tmp_path).tasks("train")
    assert more[:6] == tasks.tasks("train"), "more tasks leave those that were there as they are"
    other = KIND.task_set(settings(server, rules="Other."), seed=0, folder=tmp_path).tasks("train")
    assert KIND.digest(other) != KIND.digest(tasks.tasks("train"))
    ref.path.write_text("{}x")
    with pytest.raises(TaskFileError, match="expected the settings of a served environment"):
        ServedTask(ref).environment()


def test_resets_are_filled_in() -> None:
    told_so: Any = {"seed": "{number}", "options": {"where": ["{split}", "{index}"], "level": 3}}
    assert filled_in(told_so, "valid_seen", 4) == {
        "seed": 100_004, "options": {"where": ["valid_seen", 4], "level": 3}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"url": "file:///etc/passwd"}, "expected an address such as"),
        ({"url": "http://me:secret@host"}, "without user, password or query"),
        ({"reset": {"seed": 0}}, "plays the same task always"),
        ({"reset": {"index": "{index}"}}, "the same in every split"),
        ({"task_pattern": None}, "both are null"),
        ({"task_pattern": "("}, "expected a regular expression"),
        ({"task_pattern": "x"}, "expected a group in brackets"),
        ({"reward": {"lost_at": 1.0}}, "must be above lost_at"),
        ({"commands": ["look"]}, "set that to null"),
        ({"text_field": "a..b"}, "String should match pattern"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as error:
        Settings.model_validate(wrong)
    assert "secret" not in str(error.value).partition("[type=")[0]


def test_settings_survive_a_file(server: Stub) -> None:
    said = settings(server, reset={"b": ["{split}", 1], "a": "{index}"})
    assert Settings.model_validate(json.loads(said.model_dump_json())) == said
