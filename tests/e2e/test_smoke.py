"""The real stages end to end on the `smoke` experiment: store, Dagster, MLflow and the command line agree."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.episodes.values import read_values
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import verify
from installed import call
from pages import ROOT, blocks, commands


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which `agentprm run smoke` was called."""
    folder = tmp_path_factory.mktemp("home")
    ran = call(folder, "run", "smoke")
    assert ran.returncode == 0, ran.stderr
    assert "Bo2(pi_3, prm[3])" in ran.stdout
    return folder


def digests(home: Path) -> dict[str, str]:
    return {str(made.version.partition): made.digest for made in ArtifactStore(home / "artifacts").artifacts()}


def test_every_row_of_the_plan_is_there(home: Path) -> None:
    rows = json.loads(call(home, "report", "smoke", "--json").stdout)
    found = {(row["split"], row["iteration"], row["best_of"]) for row in rows}
    assert found == {(split, i, n) for split in ("valid_seen", "valid_unseen") for i in (0, 1, 2, 3) for n in (1, 2)}
    assert verify(ArtifactStore(home / "artifacts")).sound


def test_evaluating_again_gives_the_greedy_row_again(home: Path) -> None:
    rows = json.loads(call(home, "report", "smoke", "--json").stdout)
    (before,) = (row for row in rows if (row["split"], row["iteration"], row["best_of"]) == ("valid_seen", 1, 1))
    arguments = ("-i", "1", "--split", "valid_seen", "--max-steps", "12", "--best-of", "1", "--json")
    (now,) = json.loads(call(home, "evaluate", "smoke", *arguments).stdout)
    assert {**now, "seed": before["seed"]} == before


def test_the_commands_of_getting_started_answer(home: Path) -> None:
    shown = commands(ROOT / "docs" / "getting_started.md", "agentprm")
    called = [arguments for arguments in shown if arguments[0] not in ("run", "games")]
    assert ["report", "smoke"] in called
    for arguments in called:
        answered = call(home, *arguments)
        assert answered.returncode == 0, answered.stderr
        assert answered.stdout


def test_policies_are_scored_and_their_cards_checked(home: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.json"
    shown = ("--split", "valid_seen", "--caps", "6,12", "--processes", "1", "--out", str(card))
    several = call(home, "score", "smoke:pi_1", "smoke:pi_2", *shown)
    assert several.returncode == 1
    assert "expected several agents to be one that was trained under several seeds" in " ".join(several.stderr.split())
    scored = call(home, "score", "smoke:pi_2", *shown)
    assert scored.returncode == 0, scored.stderr
    made = json.loads(card.read_text(encoding="utf-8"))
    (agent,) = made["agents"]
    assert (agent["name"], agent["digests"]["policy"]) == ("smoke:pi_2", digests(home)["smoke/improved_policy[2]"])
    assert 0 < made["training"]["hours"] < 1
    assert not made["training"]["stated"]
    rows = json.loads(call(home, "report", "smoke", "--json").stdout)
    wins = [
        row["successes"] for row in rows if (row["split"], row["iteration"], row["best_of"]) == ("valid_seen", 2, 1)
    ]
    assert made["results"][1]["successes"] == wins, "greedy, as the evaluation was"
    assert call(home, "score", str(card), "--check").returncode == 0
    chosen = call(home, "score", "smoke:pi_1", *shown[:4], "--best-of", "2", "--json")
    assert json.loads(chosen.stdout)["agents"][0]["digests"].keys() == {"policy", "prm"}


def test_a_policy_is_not_scored_in_games_that_it_learnt_from(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root,) = (home / "games").iterdir()
    monkeypatch.setenv("ALFWORLD_DATA", str(root))
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(tmp_path))
    real = "{source: alfworld, size: small, train: null, valid_seen: null, valid_unseen: 0, held_out_rooms: 0.3}"
    other = f"extends: smoke\nenvironment: {real}\nrollouts: {{games: null}}\nevaluation: {{splits: train_held_out}}\n"
    (tmp_path / "other.yaml").write_text(other, encoding="utf-8")
    asked = ("--panel", "other", "--caps", "6", "--processes", "1")
    refused = call(home, "score", "smoke:pi_0", *asked, "--split", "train_held_out")
    assert refused.returncode == 1
    words = " ".join(refused.stderr.split())
    assert re.search(
        r"smoke/initial_policy\[0\] \w+ has learnt from games of train_held_out, (\d) of the \1 games", words
    )
    assert call(home, "score", "smoke:pi_0", *asked, "--split", "valid_seen").returncode == 0


def test_episodes_can_be_watched(home: Path, tmp_path: Path) -> None:
    replayed = call(home, "watch", "smoke", "-i", "1", "--surprising")
    assert replayed.returncode == 0, replayed.stderr
    assert re.search(r"^  1  Q 0\.\d\d \[[#.]{16}\]  V 0\.\d\d \[[#.]{16}\]$", replayed.stdout, re.MULTILINE)
    assert "The first of 12 such episodes" in replayed.stdout
    (game,) = re.findall(r"^(valid_\S+)#0$", replayed.stdout, re.MULTILINE)
    played = call(home, "watch", "smoke", "-i", "1", "--game", game, "--live", "--best-of", "3")
    assert played.returncode == 0, played.stderr
    assert "best of 3 from pi_1, played now" in played.stdout
    taken, turns = (re.findall(each, played.stdout, re.MULTILINE) for each in (r"\btaken *$", r"^ +[0-9]+  Q "))
    assert len(taken) == len(turns) > 0
    page = tmp_path / "page.html"
    written = call(home, "watch", "smoke", "-i", "2", "--asset", "rollouts", "--won", "--html", str(page))
    assert written.returncode == 0, written.stderr
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    unknown = call(home, "watch", "smoke", "-i", "1", "--game", game.replace("trial", "tril"))
    assert unknown.returncode == 2
    assert game[:20] in unknown.stderr.replace("\n", " ")


def test_evaluations_hold_the_values_of_greedy_episodes(home: Path) -> None:
    store = ArtifactStore(home / "artifacts")
    for iteration in (1, 2):
        report = store.current("smoke", "eval_report", iteration).path
        assert "episodes.html" in (report / "page.md").read_text(encoding="utf-8")
        assert (report / "episodes.html").stat().st_size < 1e6
        for folder in report.glob("valid_*"):
            turns = {episode.episode_id: len(episode.turns) for episode in read_episodes(folder)}
            values = {name: len(each) for name, each in read_values(folder).items()}
            assert values == (turns if folder.name.endswith("best_of_1") else {}), "all of so few"
    assert (store.current("smoke", "rollouts", 1).path / "episodes.html").exists()


def test_the_sample_that_reads_artifacts_runs(home: Path) -> None:
    (sample,) = blocks(ROOT / "docs" / "trusting_a_number.md", "python")
    environment = {**os.environ, "AGENTPRM_HOME": str(home)}
    ran = subprocess.run([sys.executable, "-c", sample], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert digests(home)["smoke/eval_report[1]"] in ran.stdout
    assert "smoke/demonstrations[0]" in ran.stdout


def test_the_walkthrough_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPRM_HOME", str(home))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names: dict[str, Any] = {}
    for cell in json.loads((ROOT / "docs" / "walkthrough.ipynb").read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    won, lost, _ = names["axes"].lines
    assert list(won.get_ydata()) == names["rows"]["Q(s, a)"]
    assert len(won.get_ydata()) == len(names["good"].turns)
    assert len(lost.get_ydata()) == len(names["bad"].turns)


def test_a_stranger_checks_the_bundle_of_an_iteration(home: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    exported = call(home, "export", "smoke", str(bundle), "-i", "1")
    assert exported.returncode == 0, exported.stderr
    checked = call(tmp_path / "empty", "check", str(bundle), "--play", "--json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    play = json.loads(checked.stdout)["checks"][-1]
    assert play["name"] == "play"
    assert play["counted"].startswith("must be the same; valid_seen n = 6")
    (bundle / "policy" / "model.safetensors").write_bytes(b"")
    changed = call(tmp_path / "empty", "check", str(bundle))
    assert changed.returncode == 1
    assert "policy/model.safetensors was changed" in changed.stdout


def test_models_of_a_bundle_load_as_their_cards_say(home: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    assert call(home, "export", "smoke", str(bundle), "-i", "2", "--hub", "org").returncode == 0
    for part in ("policy", "reward_model"):
        (code,) = blocks(bundle / part / "README.md", "python")
        names: dict[str, Any] = {"conversation": "REASON: why\nACTION: look"}
        exec(code.replace("THIS_FOLDER", str(bundle / part)), names)
    assert names["value"].shape == (1, 1)


def test_resuming_makes_nothing_new(home: Path) -> None:
    before = digests(home)
    again = call(home, "run", "smoke")
    assert again.returncode == 0
    assert digests(home) == before


def test_the_same_seed_gives_the_same_data_elsewhere(home: Path, tmp_path: Path) -> None:
    assert call(tmp_path, "run", "smoke", "--iterations", "1").returncode == 0
    first, second = digests(home), digests(tmp_path)
    assert second
    assert {partition: first[partition] for partition in second if "results" not in partition} == {
        partition: digest for partition, digest in second.items() if "results" not in partition
    }


def test_dagster_shows_what_the_command_line_made(home: Path) -> None:
    heads = digests(home)
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        assert all(run.is_success for run in instance.get_runs())
        for asset in ("rollouts", "prm", "improved_policy", "eval_report"):
            key = dg.AssetKey(["smoke", asset])
            assert instance.get_materialized_partitions(key) == {"1", "2", "3"}
            event = instance.get_latest_data_version_record(key, partition_key="2")
            assert event
            assert event.asset_materialization
            assert (event.asset_materialization.tags or {})["dagster/data_version"] == heads[f"smoke/{asset}[2]"]
            ledger = event.asset_materialization.metadata["cost"]
            assert isinstance(ledger, dg.TableMetadataValue)
            assert {"initial_policy", "rollouts", "all"} <= {record.data["stage"] for record in ledger.records}


def test_the_ledger_counts_every_stage(home: Path) -> None:
    rows = {row["stage"]: row for row in json.loads(call(home, "costs", "smoke", "--json").stdout)}
    made = ArtifactStore(home / "artifacts").artifacts()
    assert {f"{each.version.asset}[{each.version.iteration}]".removesuffix("[0]") for each in made} == rows.keys()
    for name in ("initial_policy", "prm[2]", "improved_policy[1]"):
        assert rows[name]["tokens"] > 0
        assert rows[name]["decisions"] is None
    for name in ("rollouts[2]", "eval_report[1]"):
        assert min(rows[name][key] for key in ("seconds", "tokens", "decisions", "environment_seconds")) > 0
    printed = call(home, "costs", "smoke").stdout
    assert "demonstrations" in printed
    assert "all" in printed


def test_mlflow_has_one_finished_run_an_artifact_and_the_checkpoints(home: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{home / 'mlflow' / 'mlflow.db'}")
    (experiment,) = (found for found in client.search_experiments() if found.name == "smoke")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert {run.info.status for run in runs} == {"FINISHED"}
    made = {artifact.manifest.mlflow_run_id for artifact in ArtifactStore(home / "artifacts").artifacts()}
    others = {run.info.run_name for run in runs if run.info.run_id not in made}
    assert others == {"smoke", "iteration 1", "iteration 2", "iteration 3"}
    assert made <= {run.info.run_id for run in runs}
    aliases = {model.name: set(model.aliases) for model in client.search_registered_models()}
    assert aliases["smoke-policy"] >= {"iteration-1", "iteration-2", "iteration-3"}
    assert aliases["smoke-prm"] == {"iteration-1", "iteration-2", "iteration-3"}


def test_a_prm_is_scored_by_near_exact_values(home: Path, tmp_path: Path) -> None:
    asked = ("--states", "6", "--actions", "3", "--continuations", "4")
    played = call(home, "oracle", "play", "smoke", "-i", "0", *asked)
    assert played.returncode == 0, played.stderr
    store = ArtifactStore(home / "artifacts")
    made = store.current("smoke", "oracle", 0)
    assert (made.manifest.metrics["states"], made.manifest.metrics["continuations"]) == (6, 72)
    assert call(home, "oracle", "play", "smoke", "-i", "0", *asked).returncode == 0
    assert len(list(store.versions(made.version.partition))) == 1, "what was asked for again is found"
    assets = ("--asset", "prm", "--asset", "improved_policy")
    scored = call(home, "oracle", "score", "smoke:1", *assets, "--out", str(tmp_path / "scores.md"), "--json")
    assert scored.returncode == 0, scored.stderr
    names = [each["name"] for each in json.loads(scored.stdout)["scores"]]
    assert names == [
        "constant",
        "log pi of the policy",
        "oracle, half by half",
        "smoke/prm[1]",
        "smoke/improved_policy[1]",
    ]
    assert "| phase early | smoke/prm[1] | 2 |" in (tmp_path / "scores.md").read_text(encoding="utf-8")
    lineage = call(home, "lineage", "smoke", "oracle", "-i", "0")
    assert "smoke/initial_policy[0]" in lineage.stdout
    unmade = call(home, "oracle", "score", "smoke:2", "--oracle", "smoke:2")
    assert unmade.returncode == 1
    assert "agentprm oracle play smoke -i 2" in unmade.stderr.replace("\n", " ")
    assert verify(store).sound
