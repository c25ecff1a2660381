"""The command line, called as a user calls it."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner, Result

from agentprm_dagster import cli
from agentprm_dagster.algorithm.statistics import ComparisonError
from agentprm_dagster.commands.doctor import _store
from agentprm_dagster.launch.gpus import Gpu
from agentprm_dagster.resources.tracker import MlflowTracker
from agentprm_dagster.stages.available import MissingError
from shared_folder import LooksFirst, SharedFolder
from toy import ToyInference, toy_definitions

ROW_KEYS = [
    "experiment", "ranked_by", "policy", "iteration", "split", "n", "successes", "success_rate", "ci_low", "ci_high",
    "mean_reward", "mean_actions", "mean_actions_won", "max_steps", "best_of", "world", "horizon", "seed",
    "tokens_per_decision", "by_task_type",
]  # fmt: skip
ANSWER_KEYS = ["observation", "admissible_commands", "won", "done"]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def toy_cli(toy: dg.Definitions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line plays the toy; MLflow is left out."""
    monkeypatch.setattr(
        "agentprm_dagster.commands.run.build_definitions",
        lambda experiments, bound: toy_definitions(next(iter(experiments)), bound["stages"].compute),
    )
    monkeypatch.setattr("agentprm_dagster.commands.evaluate.InferenceResource", ToyInference)
    monkeypatch.setattr(MlflowTracker, "reconcile", lambda self, store: [])


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("games")
    result = call("games", "generate", "--dir", folder, "--train", 6, "--valid-seen", 6, "--valid-unseen", 6)
    assert result.exit_code == 0, result.output
    return folder


def test_run_makes_resumes_and_reports(toy_cli: None, home: Path) -> None:
    first = call("run", "toy", "--iterations", 2)
    assert first.exit_code == 0, first.output
    assert "Bo8(pi_2, prm[2])" in first.output
    again = call("run", "toy", "--iterations", 2, "--json")
    assert "made before" in again.stderr
    rows = json.loads(call("report", "toy", "--json").output)
    assert json.loads(again.stdout) == rows
    assert [(row["iteration"], row["best_of"]) for row in rows if row["split"] == "valid_seen"] == [
        (0, 1), (0, 8), (1, 1), (1, 8), (2, 1), (2, 8)
    ]  # fmt: skip
    assert all(list(row) == ROW_KEYS for row in rows)

    compared = json.loads(call("compare", "toy", "--json").output)
    rates = {(row["split"], row["policy"], row["best_of"]): row["success_rate"] for row in rows}
    (last,) = [
        line for line in compared if (line["split"], line["policy"], line["beside"]) == ("valid_seen", "pi_2", "pi_0")
    ]
    assert last["rate"] == pytest.approx(rates["valid_seen", "pi_2", 1] - rates["valid_seen", "pi_0", 1])
    assert {line["beside"] for line in compared if line["policy"] == "Bo8(pi_2, prm[2])"} == {"pi_0", "pi_2"}
    itself = json.loads(call("compare", "toy", "toy", "--json").output)
    assert {(line["beside"], line["won_alone"], line["lost_alone"]) for line in itself} == {("toy", 0, 0)}
    assert "all" in {line["split"] for line in itself}
    nothing = call("compare", "smoke")
    assert isinstance(nothing.exception, ComparisonError)

    evaluated = call("evaluate", "toy", "-i", 2, "--split", "valid_unseen", "--best-of", 4, "--seed", 3, "--json")
    (row,) = json.loads(evaluated.stdout)
    assert list(row) == ROW_KEYS
    assert (row["policy"], row["iteration"], row["best_of"], row["seed"], row["n"]) == ("pi_2", 2, 4, 3, 12)

    up = json.loads(call("lineage", "toy", "prm", "-i", 2, "--json").output)
    assert up["direction"] == "upstream"
    assert up["root"]["asset"] == "prm"
    assert "eval_report[2]" in call("lineage", "toy", "prm", "-i", 2, "--down").output
    unnamed = call("lineage", "toy", "prm")
    assert unnamed.exit_code == 2
    assert "prm of toy was made in iteration 1, 2: name one" in " ".join(unnamed.output.replace("│", " ").split())
    files = ("--html", home.parent / "l.html", "--openlineage", home.parent / "l.jsonl")
    assert "all by commit" in call("lineage", "toy", "prm", "-i", 2, *files).output
    assert up["root"]["digest"] in (home.parent / "l.html").read_text(encoding="utf-8")
    events = (home.parent / "l.jsonl").read_text(encoding="utf-8")
    assert json.loads(events.splitlines()[-1])["outputs"][0]["name"] == "toy/prm/2"
    assert call("lineage", "toy", "prm", "-i", 2, "--openlineage", "-").output == events
    differences = json.loads(call("lineage", "toy", "prm", "--diff", 1, 2, "--json").output)
    assert {(each["where"], each["name"]) for each in differences["found"] if each["kind"] == "data"} >= {
        ("prm[1], prm[2]", "rollouts"),
        ("rollouts[1], rollouts[2]", "behaviour_policy"),
    }
    text = call("lineage", "toy", "prm", "--diff", 1, 2).output
    assert "no difference in: settings, code, versions, machine" in text
    assert "made alike for both: initial_policy, demonstrations" in text

    verified = call("verify")
    assert verified.exit_code == 0
    assert "reproducible: " in verified.output and " bitwise" in verified.output
    assert [path for path in (home, *home.rglob("*")) if path.stat().st_mode & 0o077] == [], "for this user alone"
    page = next((home / "artifacts/toy/prm/1").glob("*/page.md"))
    page.chmod(0o644)
    page.write_text("tampered", encoding="utf-8")
    tampered = call("verify")
    assert tampered.exit_code == 1
    assert "page.md" in tampered.output


@pytest.mark.slow
def test_a_composed_experiment_with_several_seeds_has_a_table_and_a_name(toy_cli: None, tmp_path: Path) -> None:
    (tmp_path / "experiments" / "studies").mkdir()
    (tmp_path / "experiments" / "studies" / "short.yaml").write_text("iterations: 1")
    ran = call("run", "toy", "--with", "short", "--set", "evaluation.best_of=4", "--seeds", "0,1")
    assert ran.exit_code == 0, ran.output
    name = "toy__short__evaluation_best_of_4"
    assert f"{name}__seed_1, iteration 1" in ran.output
    assert f"{name}, iteration 2" not in ran.output, "the study plans one"
    assert "95% over seeds" in ran.output
    first, second = (json.loads(call("report", each, "--json").output) for each in (name, f"{name}__seed_1"))
    assert [row["policy"] for row in first] == [row["policy"] for row in second]
    assert call("compare", name).exit_code == 0
    assert "prm" in call("lineage", f"{name}__seed_1", "eval_report", "-i", 1).output
    again = call("run", f"{name}__seed_1", "--iterations", 2)
    assert again.exit_code == 0, again.output


def test_where_it_is_computed_is_chosen_by_an_option_or_the_environment(
    toy_cli: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text("engine: {kind: transformers, device: cpu}\n", encoding="utf-8")
    monkeypatch.setenv("AGENTPRM_COMPUTE", str(tmp_path / "mine.yaml"))
    ran = call("run", "toy", "--iterations", 1)
    assert ran.exit_code == 0, ran.output
    root = json.loads(call("lineage", "toy", "eval_report", "-i", 1, "--json").output)["root"]
    assert root["reproducible"] == "statistical", "the toy's policies are of no type"
    assert " statistical" in call("lineage", "toy", "rollouts", "-i", 1).output
    assert call("evaluate", "toy", "-i", 1, "--compute", "laptop").exit_code == 0
    monkeypatch.delenv("AGENTPRM_VLLM", raising=False)
    for command in (("run", "toy"), ("evaluate", "toy", "-i", 1)):
        refused = call(*command, "--compute", "gpu")
        assert isinstance(refused.exception, MissingError)
        assert "vLLM, which is not here: engine.kind: vllm needs AGENTPRM_VLLM" in str(refused.exception)


def test_a_stage_that_fails_is_told_in_its_own_words(toy_cli: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **settings: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("agentprm_dagster.targets.mc.compute", fail)
    result = call("run", "toy")
    assert result.exit_code == 1
    assert "mc_value_targets failed: RuntimeError: the disk is full" in result.output
    assert "Traceback" not in result.output


def test_an_interrupted_stage_says_so(toy_cli: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **settings: object) -> None:
        raise dg.DagsterExecutionInterruptedError

    monkeypatch.setattr("agentprm_dagster.targets.mc.compute", interrupted)
    result = call("run", "toy")
    assert result.exit_code == 1
    assert "mc_value_targets failed: interrupted by Ctrl-C or SIGTERM\n" in result.output


BACKGROUND_JOB = """
import os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell's script starts it
import dagster as dg
from agentprm_dagster import cli

@dg.asset
def made(): pass

def app():
    dg.materialize([made])
    os.kill(os.getpid(), signal.SIGTERM)
    print("goes on")

cli.app = app
cli.main()
"""


def test_a_scripts_background_job_is_ended_by_a_plain_kill() -> None:
    ended = subprocess.run([sys.executable, "-c", BACKGROUND_JOB], capture_output=True, text=True)
    assert "RUN_SUCCESS" in ended.stderr
    assert ended.stderr.endswith("KeyboardInterrupt\n")
    assert (ended.stdout, ended.returncode) == ("", -signal.SIGINT)


def test_play_answers_a_file_of_commands(games: Path, tmp_path: Path) -> None:
    game = json.loads(call("games", "list", "--dir", games, "--json").output)[0]
    commands = tmp_path / "commands.txt"
    commands.write_text("look\nfly away\n", encoding="utf-8")
    lines = [
        json.loads(line) for line in call("play", game["path"], "--commands", commands, "--json").output.splitlines()
    ]
    assert all(list(line) == ANSWER_KEYS for line in lines)
    assert lines[0]["observation"].startswith("-= Welcome to TextWorld, ALFRED! =-")
    assert lines[2]["observation"] == "Nothing happens."
    assert not any(line["done"] for line in lines)


def test_the_walkthrough_wins(games: Path, tmp_path: Path) -> None:
    game = json.loads(call("games", "list", "--dir", games, "--json").output)[-1]
    way = json.loads(Path(game["path"]).read_text(encoding="utf-8"))["walkthrough"]
    commands = tmp_path / "commands.txt"
    commands.write_text("\n".join([*way, "look"]), encoding="utf-8")
    folder = Path(game["path"]).parent
    last = call("play", folder, "--commands", commands, "--json").output.splitlines()[-1]
    assert json.loads(last)["won"] is True


def test_games_are_counted(games: Path) -> None:
    listed = call("games", "list", "--dir", games)
    assert listed.exit_code == 0
    assert "valid_unseen" in listed.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "nosuch"],
        ["run", "smoke", "--iterations", "0"],
        ["report", "smoke", "--nosuch"],
        ["evaluate", "smoke"],
        ["ui", "--dagster-port", "99999"],
        ["ui", "--mlflow-port", "-1"],
    ],
)
def test_wrong_usage_is_2(arguments: list[str], home: Path) -> None:
    assert call(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lineage", "smoke", "rollout", "-i", "1"], "no asset 'rollout'; there are: demonstrations, eval_report"),
        (["lineage", "smoke", "pr m"], "no asset 'pr m'"),
        (["lineage", "smoke", "../x"], "no asset '../x'"),
        (["lineage", "smoke", "behaviour_policy", "-i", "1"], "is kept under what made it: initial_policy"),
        (["lineage", "smoke", "prm", "--picture", "x.xyz"], "ends in .png, .svg, .pdf"),
        (["lineage", "smoke", "prm", "--picture", "nowhere/x.png"], "in a folder that is there; got nowhere/x.png"),
        (["lineage", "smoke", "prm", "--picture", "folder.png"], "'folder.png' is a directory"),
        (["lineage", "smoke", "prm", "--html", "x.png"], "expected a file that ends in .html, .htm"),
        (["lineage", "smoke", "prm", "--diff", "1", "-1"], "expected two iterations between 0 and 1000, got (1, -1)"),
        (["lineage", "smoke", "prm", "--diff", "1"], "requires 2 arguments"),
        (["evaluate", "smoke", "-i", "1", "--split", "train_held_out"], "smoke has no games of train_held_out"),
        (["games", "generate", "--dir", "latin.txt"], "'latin.txt' is a file"),
        (["play", ".", "--commands", "latin.txt"], "expected commands in UTF-8, one a line"),
    ],
)
def test_what_cannot_be_is_told_before_any_work(
    arguments: list[str], words: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("latin.txt").write_bytes("öffne".encode("latin-1"))
    Path("folder.png").mkdir()
    result = call(*arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.output.replace("│", " ").split())
    assert not home.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lineage", "smoke", "prm", "-i", "1"], "smoke/prm[1] has no current version"),
        (["evaluate", "smoke", "-i", "0"], "smoke/initial_policy[0] has no current version"),
        (["report", "smoke"], "smoke has evaluated nothing yet: `agentprm run smoke` does it"),
        (["costs", "smoke"], "smoke has made nothing yet: `agentprm run smoke` does it"),
        (["play", "nosuch"], "found none"),
        (
            ["games", "generate", "--dir", "none", "--train", "0", "--valid-seen", "0", "--valid-unseen", "0"],
            "at least one game to generate",
        ),
        (["games", "generate", "--dir", "none", "--train", "3"], "at least 6 train games"),
        (["games", "list"], "agentprm games download"),
    ],
)
def test_expected_errors_are_1_and_kind(
    arguments: list[str], words: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(home))
    monkeypatch.setattr(sys, "argv", ["agentprm", *arguments])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 1
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told


def test_an_unknown_fault_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "app", fault)
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_doctor_tells_what_is_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPRM_LLM_MODEL", "gpt-4o")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.openai.com/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    findings = {finding["topic"]: finding for finding in json.loads(call("doctor", "--json").output)}
    assert findings["torch"]["ok"]
    large = "only large pretrained models would be trained and answer faster on a GPU"
    assert findings["devices"]["remedy"] in ("", large)
    assert {"steered", "low_sample"} <= {*findings["studies"]["found"].split(", ")}
    assert findings["home"]["found"].startswith(str(home))
    assert findings["llm"]["found"] == "gpt-4o at api.openai.com, with a key; not asked"


def findings_of(topic: str) -> tuple[int, list[dict[str, Any]]]:
    """How doctor ends, and what it says about a topic."""
    said = call("doctor", "--json")
    return said.exit_code, [finding for finding in json.loads(said.output) if finding["topic"] == topic]


def test_doctor_refuses_a_compute_that_asks_for_what_is_not_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTPRM_VLLM", raising=False)
    monkeypatch.setattr("agentprm_dagster.stages.available.gpus", list)
    monkeypatch.setenv("AGENTPRM_COMPUTE", "gpu")
    code, (compute, *lacking) = findings_of("compute")
    assert code == 1
    assert compute["found"] == "gpu: the engine vllm answers, training on cuda"
    assert [each["found"].partition(",")[0] for each in lacking] == ["training.device: cuda", "vLLM"]
    assert not [each for each in (compute, *lacking) if each["ok"] or not each["needed"]]
    monkeypatch.setenv("AGENTPRM_COMPUTE", "nosuch")
    code, (unknown,) = findings_of("compute")
    assert (code, unknown["ok"]) == (1, False)
    assert unknown["remedy"].startswith("no compute 'nosuch'; there are: cluster, gpu, gpu8, laptop")
    monkeypatch.delenv("AGENTPRM_COMPUTE")
    (usual,) = findings_of("compute")[1]
    assert (usual["ok"], usual["found"]) == (True, "laptop: the engine embedded answers, training on auto")


def test_doctor_asks_vllms_own_python(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 0.32.0\n", encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AGENTPRM_VLLM", "~/python")
    assert findings_of("vllm")[1][0]["found"] == "0.32.0 in ~/python"
    for without in (sys.executable, str(tmp_path / "nowhere")):
        monkeypatch.setenv("AGENTPRM_VLLM", without)
        (found,) = findings_of("vllm")[1]
        assert (found["ok"], found["needed"]) == (False, False)
        assert found["found"] == f"none in {without}"


def test_doctor_names_the_gpus_and_says_that_one_is_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentprm_dagster.commands.doctor.gpus", lambda: [Gpu("NVIDIA H200", 139 * 2**30)] * 2)
    devices, several = findings_of("devices")[1]
    assert devices["found"].endswith("GPUs: NVIDIA H200 (139 GiB), NVIDIA H200 (139 GiB)")
    assert several["found"].startswith("of several GPUs a training uses one, or with training.launch: torchrun")


def test_doctor_says_where_ray_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://user:pass-ray@127.0.0.1:10001")
    (ray,) = findings_of("ray")[1]
    assert ray["found"].endswith("RAY_ADDRESS is ray://***@127.0.0.1:10001")
    assert not ray["needed"]


def test_doctor_tries_the_store(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x/.leases").mkdir(parents=True)
    shared, without = (f"{kind.protocol}://{tmp_path}/x" for kind in (SharedFolder, LooksFirst))
    stores = {
        "": (True, True, f"{home}/artifacts can be read and written, and locks hold there"),
        shared: (True, True, f"{shared} can be read and written, and locks hold there"),
        without: (False, False, f"{without} can be read and written, and keeps no locks"),
        f"{SharedFolder.protocol}:///dev/null/x": (False, True, "cannot be used: "),
        "sftp://me:pass-one@host/x": (False, True, "none"),
    }
    for named, (ok, needed, found) in stores.items():
        monkeypatch.setenv("AGENTPRM_STORE", named)
        finding = _store()
        assert (finding.ok, finding.needed) == (ok, needed)
        assert finding.found.startswith(found)
        assert "pass-one" not in f"{finding}"
    assert not home.exists()


def test_doctor_says_where_dagsters_records_are(home: Path) -> None:
    topic = "Dagster's records"
    assert findings_of(topic)[1][0]["found"] == "none yet, SQLite in the home folder then"
    (home / "dagster").mkdir(parents=True)
    assert findings_of(topic)[1][0]["found"] == f"sqlite:///{home}/dagster/history/runs.db"
    elsewhere = "storage: {sqlite: {base_dir: {env: NOBODY_SET_THIS}}}"
    (home / "dagster/dagster.yaml").write_text(elsewhere, encoding="utf-8")
    code, (found,) = findings_of(topic)
    assert (code, found["ok"]) == (1, False)
    assert 'the environment variable "NOBODY_SET_THIS" which is not set' in found["remedy"]


@pytest.mark.parametrize("as_json", [True, False])
def test_doctor_shows_no_password(home: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    monkeypatch.setenv("AGENTPRM_LLM_MODEL", "gpt-4o")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://user:pass-one@gateway.example/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:pass-two@127.0.0.1:5000")
    said = call("doctor", *(["--json"] if as_json else [])).output
    assert "OPENAI_BASE_URL holds a user or a password" in said
    assert "http://***@127.0.0.1:5000" in said
    assert not [secret for secret in ("pass-one", "pass-two", "sk-secret") if secret in said]


def test_help_loads_nothing_heavy() -> None:
    heavy = {"dagster", "mlflow", "numpy", "pandas", "textworld", "torch", "transformers"}
    code = f"import sys, agentprm_dagster.cli; print(*({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split() == []
