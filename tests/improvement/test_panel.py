"""The panel on a real policy and PRM: what it measures is what measuring by hand gives; the tripwire takes it back."""

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from agentprm_dagster.agents.policy import Policy
from agentprm_dagster.config import Rollouts
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.engine import EmbeddedEngine
from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.improvement.branched_states import policy_prefixes
from agentprm_dagster.improvement.dpo_settings import Panel as PanelSettings
from agentprm_dagster.improvement.dpo_settings import Settings as Improvement
from agentprm_dagster.improvement.judging import Judge
from agentprm_dagster.improvement.online_dpo import improve_policy
from agentprm_dagster.improvement.panel import Panel, Watched
from agentprm_dagster.launch.job import Job
from agentprm_dagster.reports.overoptimization import MEASUREMENTS
from agentprm_dagster.rollouts.collect import whole_episodes
from agentprm_dagster.rollouts.rollout import play

MORE: dict[str, Any] = {
    "steps": 4,
    "episodes_per_step": 4,
    "states_per_episode": 2,
    "candidates": 4,
    "min_gap": 0.0,
    "temperature": 1.5,
}


def settings(**panel: Any) -> Improvement:
    return Improvement(**MORE, learning_rate=1e-2, panel=PanelSettings(every=2, games=5, **panel))


def watch(episodes: Sequence[Episode], *committee: Path) -> Watched:
    how = Rollouts(temperature=1.0, max_steps=8, slots=4)
    return Watched(episodes, committee, how, gamma=0.95, batch_tokens=8192)


@pytest.fixture(scope="module")
def prm_folder(taught_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prm")
    model = checkpoints.prm_from_policy(taught_folder, seed=1)
    checkpoints.save(model, checkpoints.load_tokenizer(taught_folder), folder)
    return folder


def ready(folder: Path, kind: str) -> PreTrainedModel:
    model = checkpoints.load_policy(folder) if kind == "policy" else checkpoints.load_prm(folder)
    use_grouped_attention(model)
    return model.eval()


@pytest.fixture
def panel(taught_folder: Path, prm_folder: Path, household_games: list[PlayableGame], rollouts: list[Episode]) -> Panel:
    chat = Chat(checkpoints.load_tokenizer(taught_folder), WORDING)
    model, plan = ready(taught_folder, "policy"), settings(tripwire="success", limit=0.01)
    judge = Judge(ready(prm_folder, "prm"), chat)
    members = [checkpoints.prm_from_policy(taught_folder, seed=seed).eval() for seed in (2, 3)]
    for member in members:
        use_grouped_attention(member)
    return Panel(
        model,
        copy.deepcopy(model),
        judge,
        members,
        household_games[:5],
        policy_prefixes(chat, rollouts, "append")[:4],
        watch(rollouts),
        plan,
        dialogue="append",
        job=Job(seed=7),
    )


def test_it_measures_the_policy_as_it_is(panel: Panel, household_games: list[PlayableGame]) -> None:
    assert not panel.watch(0)
    assert not panel.watch(1), "it is not time"
    (measured,) = panel.history
    agent = Policy(
        EmbeddedEngine(panel.model, conversations=4), panel.judge.chat, dialogue="append", slots=4, temperature=1.0,
        max_new_tokens=16, seed=7)  # fmt: skip
    episodes = play(agent, whole_episodes(household_games[:5], 1), max_steps=8, total=5, monitor=SilentMonitor())
    turns = [turn for episode in episodes for turn in episode.turns]
    assert (measured.games, measured.success) == (5, sum(each.won for each in episodes) / 5)
    assert measured.validity == pytest.approx(sum(turn.admissible for turn in turns) / len(turns))
    assert measured.kl == pytest.approx(0, abs=1e-5), "it is its reference"
    assert 0 < measured.value < 1
    assert measured.disagreement is not None
    assert measured.disagreement > 0
    with torch.no_grad():
        panel.model.lm_head.weight += 0.05 * torch.randn(
            panel.model.lm_head.weight.shape, generator=torch.Generator().manual_seed(0)
        )
    panel.watch(2)
    assert panel.history[-1].kl > 1e-3


def test_a_tripwire_takes_the_policy_back(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Success rises, then falls: the weights of the best measurement come back."""
    really = panel._measure(0)
    successes = iter([0.4, 0.8, 0.6])
    monkeypatch.setattr(panel, "_measure", lambda step: replace(really, step=step, success=next(successes)))
    weight = next(panel.model.parameters())
    seen = []
    for step in (0, 2, 4):
        with torch.no_grad():
            weight += 1
        seen.append(weight.detach().clone())
        stopped = panel.watch(step)
        assert stopped == (step == 4)
    assert panel.settle() == panel.history[1]
    assert torch.equal(weight, seen[1])


def test_a_tripwire_has_a_limit_of_its_own(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Disagreement may grow by a fifth, whatever it begins with."""
    panel.settings = PanelSettings(every=2, committee=2, tripwire="disagreement")
    really = panel._measure(0)
    disagreements = iter([0.5, 0.55, 0.61])
    monkeypatch.setattr(panel, "_measure", lambda step: replace(really, step=step, disagreement=next(disagreements)))
    assert [panel.watch(step) for step in (0, 2, 4)] == [False, False, True]
    assert panel.settle() == panel.history[1]


def test_improvement_is_watched_and_keeps_what_the_panel_says(
    taught_folder: Path,
    prm_folder: Path,
    household_games: list[PlayableGame],
    rollouts: list[Episode],
    tmp_path: Path,
) -> None:
    games = {game.id: game for game in household_games}
    held_out = sorted(games)[:4]
    train = [episode for episode in rollouts if episode.game not in held_out]
    watched = watch([each for each in rollouts if each.game in held_out], prm_folder, prm_folder)

    def improve(name: str, **panel: object) -> tuple[Path, dict[str, float]]:
        out = tmp_path / name
        out.mkdir()
        report = improve_policy(
            taught_folder,
            prm_folder,
            train,
            games,
            KIND,
            settings(**panel),
            out,
            dialogue="append",
            centred=False,
            max_kl=20.0,
            watched=watched,
            job=Job(seed=0),
        )
        assert all(gate.passed for gate in report.gates if gate.name == "policy_finite")
        return out, dict(report.metrics)

    out, metrics = improve("whole")
    measured = json.loads((out / MEASUREMENTS).read_text(encoding="utf-8"))
    assert [each["step"] for each in measured] == [0, 2, 4]
    assert all(each["games"] == 4 for each in measured), "there are no more"
    assert measured[0]["disagreement"] == pytest.approx(0, abs=1e-6), "the committee is one PRM twice"
    assert measured[-1]["kl"] > measured[0]["kl"]
    assert metrics["steps"] == 4
    # Nobody may go anywhere: at the first measurement after the start it is taken back to the start.
    out, metrics = improve("stopped", tripwire="kl", limit=1e-9)
    assert (metrics["steps"], metrics["kept_step"]) == (2, 0)
    assert "kl_first" in metrics
    assert "kl_last" not in metrics, "no step led to what was kept"
    kept, before = checkpoints.load_policy(out), checkpoints.load_policy(taught_folder)
    assert all(torch.equal(a, b) for a, b in zip(kept.parameters(), before.parameters(), strict=True))
