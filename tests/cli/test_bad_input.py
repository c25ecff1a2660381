"""Whatever is wrong with what it is given, the command line says so in a few lines, and changes nothing."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from agentprm_dagster.commands.run import failures
from agentprm_dagster.iterations import PartitionError, iteration_of
from bad_commands import BAD_INPUTS, PARTITIONS
from bad_games import CODE_IN_A_GRAMMAR, game, with_code
from bad_inputs import Answer, BadInput, answer, contents
from bad_settings import EVERY_SETTING

AGENTPRM = Path(sys.executable).with_name("agentprm")


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name[:80])
def test_bad_input_is_told_and_nothing_changes(bad: BadInput, tmp_path: Path) -> None:
    answered = answer(bad, tmp_path)
    assert not answered.faults(bad), answered.text[-2000:]


def test_they_are_many_and_each_is_another() -> None:
    assert len({bad.name for bad in BAD_INPUTS}) == len(BAD_INPUTS) > 700
    assert len({bad.words for bad in EVERY_SETTING}) > 100, "every setting is tried"


def test_the_harness_notices_a_bad_answer(tmp_path: Path) -> None:
    """Good input, a traceback, an answer without the word, and a folder that was written to."""
    good = BadInput("good", ("report", "smoke"), ("no such word",))
    assert answer(good, tmp_path).faults(good) == [
        "ends without an exit code that tells of it",
        "does not name ['no such word']",
    ]
    long = Answer(None, "Traceback", 100, ("home",))
    assert len(long.faults(good)) == 5


@pytest.mark.parametrize("name", PARTITIONS)
def test_a_partition_is_an_iteration_or_refused(name: str) -> None:
    with pytest.raises(PartitionError, match="expected an iteration, 1 or more"):
        iteration_of(name)


def test_iterations_are_partitions() -> None:
    assert [iteration_of(name) for name in ("1", "9", "10", "123")] == [1, 9, 10, 123]


@pytest.mark.parametrize("name", ["01", "١", "abc", "-1", "1 "])
def test_dagster_makes_no_iteration_under_another_name(toy: dg.Definitions, home: Path, name: str) -> None:
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("toy_iteration", [name])
    ran = toy.resolve_job_def("toy").execute_in_process(
        instance=instance,
        partition_key=name,
        asset_selection=[dg.AssetKey(["toy", "rollouts"])],
        raise_on_error=False,
    )
    assert not ran.success
    assert any(line.startswith(f"rollouts failed: PartitionError: partition {name!r}") for line in failures(ran))
    assert not home.exists()


# A few more, as a shell gives them.


def shell(command: str, folder: Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    """What a shell line comes to, `agentprm` being this environment's."""
    values = {"AGENTPRM_HOME": str(folder / "home"), "ALFWORLD_DATA": str(folder / "data")}
    line = command.replace("agentprm", str(AGENTPRM), 1)
    return subprocess.run(
        ["/bin/sh", "-c", line], cwd=folder, env={**os.environ, **values, **env}, capture_output=True, check=False
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with one good game."""
    game(_good())(tmp_path)
    return tmp_path


def _good() -> dict[str, object]:
    from kitchen import kitchen

    return kitchen()


def test_a_reader_that_leaves_early_is_no_error(data: Path) -> None:
    ended = shell("agentprm games list --json | head -c 1", data)
    assert (ended.stdout, ended.stderr) == (b"[", b"")


def test_a_full_disk_is_told(data: Path) -> None:
    ended = shell("agentprm games list > /dev/full", data)
    assert ended.returncode == 1
    assert ended.stderr.startswith(b"OSError: what is printed: No space left on device.")
    assert ended.stderr.count(b"\n") == 1


def test_streams_may_be_closed(data: Path) -> None:
    for command in ("agentprm games list >&-", "agentprm play data/json_2.1.1/valid_seen/*/*/game.tw-pddl <&-"):
        ended = shell(command, data)
        assert ended.returncode == 0
        assert b"Traceback" not in ended.stderr


def test_names_and_commands_need_not_be_text(data: Path) -> None:
    played = shell(r"printf 'l\377ok\n' | agentprm play data/json_2.1.1/valid_seen/*/*/game.tw-pddl", data)
    assert b"Nothing happens." in played.stdout
    listed = shell('mv data "$(printf "\\377")"; agentprm games list --dir "$(printf "\\377")"', data)
    assert listed.returncode == 0
    assert b"udcff" in listed.stdout
    assert not played.stderr + listed.stderr


def test_a_terminal_need_not_know_unicode(data: Path) -> None:
    ended = shell("agentprm games list", data, PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_folder_of_games_runs_no_code(tmp_path: Path) -> None:
    """Neither by what a game says nor by modules that lie where the player is."""
    game(with_code("in a reply"))(tmp_path)
    for module in ("alfworld", "textworld", "json"):
        (tmp_path / f"{module}.py").write_text("from pathlib import Path; Path('RAN').touch()", encoding="utf-8")
    before = dict(contents(tmp_path))
    for engine in ("household", "alfworld"):
        ended = shell(f"agentprm play data/json_2.1.1/valid_seen/*/* --engine {engine}", tmp_path)
        assert ended.returncode == 1
        assert b"would run it as Python" in ended.stderr
    game(_good())(tmp_path / "good")
    played = shell("echo look | agentprm play good/data/json_2.1.1/valid_seen/*/* --engine alfworld", tmp_path)
    assert b"Welcome to TextWorld" in played.stdout
    assert {name: identity for name, identity in contents(tmp_path) if not name.startswith("good")} == before


@pytest.mark.parametrize("where", CODE_IN_A_GRAMMAR)
def test_the_table_of_foreign_code_would_run(where: str) -> None:
    """Each is Python that ALFWorld's grammar has not: what a test of refusals is worth depends on it."""
    from agentprm_dagster.envs.alfworld.expressions import foreign_code

    assert foreign_code(with_code(where)["grammar"]) is not None
