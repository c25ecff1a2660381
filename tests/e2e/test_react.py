"""A language model behind a real server demonstrates and is judged: resumed, budgeted, told apart from others."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from agentprm_dagster.commands.report import print_report
from agentprm_dagster.commands.run import failures, run_iteration
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.iterations import add_iterations
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.manifest import GAMES_DIGEST
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import verify
from agentprm_dagster.resources.llm import LLM_SETTINGS
from chat_servers import KEY, LOOK, Proxy, Sent, completion
from toy import TOY, toy_definitions

ASKED = (
    TOY.replace("12", "6").replace("walkthrough", "llm, max_steps: 5").replace("iterations: 3", "seed: 4")
    + """
evaluation: {max_steps: 4, games: 2}
llm: {evaluate: true, temperature: 0, max_new_tokens: 40, concurrency: 3, price_drawn: 1.0}
"""
).replace("gates: {", "gates: {min_demonstration_success: 0.2, max_parse_failures: 0.5, ")

DEMONSTRATE = "from test_react import make; print(*make('demonstrations'))"


@pytest.fixture
def asked(toy: dg.Definitions, proxy: Proxy, tmp_path: Path) -> Proxy:
    """The toy with a language model for its expert, which is judged as well."""
    configure(tmp_path)
    return proxy


def configure(tmp_path: Path, settings: str = "", at_once: int = 3) -> None:
    text = ASKED.replace("concurrency: 3", f"{settings} concurrency: {at_once}")
    (tmp_path / "experiments" / "toy.yaml").write_text(text, encoding="utf-8")


def make(asset: str) -> list[str]:
    """Materializes one asset; what went wrong."""
    job = toy_definitions().resolve_job_def("toy")
    instance = dg.DagsterInstance.ephemeral()
    add_iterations(instance, "toy", 1)
    key = dg.AssetKey(["toy", asset])
    result = job.execute_in_process(instance=instance, partition_key="1", asset_selection=[key], raise_on_error=False)
    return list(failures(result))


def made(home: Path, asset: str = "demonstrations") -> Artifact:
    return ArtifactStore(home / "artifacts").current("toy", asset, 0)


def answers(home: Path) -> int:
    """How many answers are kept in journals."""
    return sum(len(path.read_bytes().splitlines()) for path in (home / "journals").glob("*.jsonl"))


def test_an_iteration_with_a_model_that_is_asked(
    asked: Proxy, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    instance = dg.DagsterInstance.ephemeral()
    add_iterations(instance, "toy", 1)
    asked.faults.extend([503, None, 429])
    result = run_iteration(toy_definitions(), instance, "toy", 1)
    assert result.success, list(failures(result))
    model = os.environ["AGENTPRM_LLM_MODEL"]

    shown = made(home)
    episodes = read_episodes(shown.path)
    assert [episode.episode_id for episode in episodes] == sorted(f"{episode.game}#0" for episode in episodes)
    assert 2 <= sum(episode.won for episode in episodes) <= 3, "of those it knows by heart"
    assert all(turn.response for episode in episodes if episode.won for turn in episode.turns)
    assert all(turn.action in turn.candidates for episode in episodes if episode.won for turn in episode.turns)
    assert shown.manifest.config["llm_model"] == model
    assert shown.manifest.config["llm_server"] == asked.url.split("/")[2]
    recorded = made(home, "react_report").manifest.config.keys() - {"llm_model", "llm_server", GAMES_DIGEST}
    assert recorded == {"evaluation.splits", "evaluation.max_steps", "gates.max_parse_failures", *LLM_SETTINGS}
    numbers = shown.manifest.metrics
    assert numbers["decisions"] == sum(len(episode.turns) for episode in episodes)
    assert numbers["money"] == pytest.approx(numbers["tokens_drawn"] / 1e6)
    assert numbers["tokens_read"] > numbers["tokens_drawn"] > 0

    rows = {row["policy"]: row for row in rows_of(home) if row["best_of"] == 1 and row["split"] == "valid_seen"}
    assert list(rows) == [f"ReAct({model})", "pi_0", "pi_1"]
    react = rows[f"ReAct({model})"]
    assert (react["iteration"], react["n"], react["max_steps"]) == (None, rows["pi_1"]["n"], rows["pi_1"]["max_steps"])
    assert react["tokens_per_decision"] > 0
    print_report("toy")
    assert "ReAct(" in capsys.readouterr().out
    assert f"| valid_unseen | ReAct({model}) | 2 |" in (made(home, "results").path / "page.md").read_text()
    assert verify(ArtifactStore(home / "artifacts")).sound

    assert answers(home) == asked.answered
    assert not [path for path in home.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    before = asked.answered
    assert make("demonstrations") == []
    assert asked.answered == before, "made before"
    shutil.rmtree(home / "artifacts")
    assert make("demonstrations") == []
    assert asked.answered == before, "made anew, as by other code, of the answers that were paid for"
    assert read_episodes(made(home).path) == episodes
    monkeypatch.setenv("AGENTPRM_LLM_MODEL", "another")
    (told,) = make("demonstrations")
    assert "answered HTTP 400, not a completion by another" in told, "another model shares nothing"


def rows_of(home: Path) -> list[dict[str, Any]]:
    return json.loads((made(home, "results").path / "results.json").read_text(encoding="utf-8"))


def test_kill_9_loses_no_answer(asked: Proxy, home: Path, tmp_path: Path) -> None:
    configure(tmp_path, at_once=1)
    folders = os.pathsep.join(str(Path(__file__).parents[i]) for i in (0, 1))
    environment = {**os.environ, "PYTHONPATH": folders}
    child = subprocess.Popen([sys.executable, "-c", DEMONSTRATE], env=environment, stdout=subprocess.PIPE, text=True)

    def kill() -> None:
        child.send_signal(signal.SIGKILL)
        child.wait()

    asked.faults.extend([None] * 9 + [kill])
    said, _ = child.communicate()
    assert child.returncode == -signal.SIGKILL, said
    assert answers(home) == 9
    configure(tmp_path, at_once=3)
    assert make("demonstrations") == []
    again = len(asked.questions) - 10
    assert again == made(home).manifest.metrics["decisions"] - 9, "nothing that was answered was asked again"


def test_a_budget_stops_and_can_be_raised(asked: Proxy, home: Path, tmp_path: Path) -> None:
    configure(tmp_path, "budget_tokens: 3000,", at_once=1)
    (told,) = make("demonstrations")
    assert "BudgetExceeded" in told
    assert f"{answers(home)} answers are kept in {home / 'journals'}" in told
    assert 0 < asked.answered == answers(home)
    configure(tmp_path)
    assert make("demonstrations") == []
    metrics = made(home).manifest.metrics
    assert asked.answered == metrics["decisions"], "each was asked once"


def test_a_gate_that_fails_leaves_what_was_paid_for(asked: Proxy, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "experiments" / "toy.yaml"
    path.write_text(ASKED.replace("min_demonstration_success: 0.2", "min_demonstration_success: 0.9"), encoding="utf-8")
    (told,) = make("demonstrations")
    assert "did not pass its gate expert_success" in told
    before = asked.answered
    configure(tmp_path)
    assert make("demonstrations") == []
    assert asked.answered == before, "judged anew, asked nothing"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (completion(None, "length", reasoning_content="Hm."), "16 were cut at llm.max_new_tokens, 16 were empty"),
        (completion("Let me look at"), "as `Let me look at`. Of all answers 0 were cut"),
    ],
)
def test_answers_that_cannot_be_read_are_no_success_rate(
    asked: Proxy, home: Path, capsys: pytest.CaptureFixture[str], answer: bytes, why: str
) -> None:
    asked.upstream = lambda question: answer
    (told,) = make("react_report")
    assert "react_report did not pass its gate parse_failures: 100.0% of 16 answers were not in the agreed form" in told
    assert why in told
    report = made(home, "react_report")
    page = (report.path / "page.md").read_text(encoding="utf-8")
    assert page.startswith("**What stands below says nothing about the model.** 100.0% of 16 answers")
    with pytest.raises(ArtifactError, match="toy has evaluated nothing yet"):
        print_report("toy")
    printed = capsys.readouterr()
    assert "ReAct(" not in printed.out
    assert "toy: left out: react_report, which did not pass its gates: 100.0% of 16 answers" in printed.err
    assert "did not pass its gate parse_failures" in " ".join(make("demonstrations"))
    assert made(home).manifest.metrics["cut_answers"] == report.manifest.metrics["cut_answers"] * 30 / 16


def test_a_prompt_that_is_refused_costs_its_episode_alone(asked: Proxy, home: Path) -> None:
    too_long = Sent(b'{"error": {"message": "maximum context length is 512 tokens"}}', 400)
    asked.upstream = lambda question: too_long if '"action"' in str(question["messages"]) else completion(LOOK)
    (told,) = make("react_report")
    assert "4 of 4 episodes ended, lost, where the server refused the prompt for good: `127" in told
    assert "maximum context length is 512 tokens" in told
    report = made(home, "react_report")
    assert report.manifest.metrics["refused_episodes"] == 4
    assert answers(home) == len(asked.questions) == 8


def test_without_a_model_it_says_what_to_set(asked: Proxy, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTPRM_LLM_MODEL")
    (told,) = make("react_report")
    assert told.startswith("react_report failed: LlmError: no language model to ask, AGENTPRM_LLM_MODEL not set: set ")
