"""Experiments that extend `smoke`, end to end: InversePRM, a panel, exploration, lookahead; what is not made twice."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.provenance.lineage import lineage
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import verify
from installed import run

pytestmark = pytest.mark.slow

PATIENT = """
extends: inverse
improvement: {steps: 3}
evaluation: {best_of: [2, 3], ranked_by: [reward, log_ratio]}
"""

SHAPED = """
extends: smoke
targets: {kind: shaped, value: {epochs: 2}}
"""

RELATIVE = """
extends: smoke
prm: {loss: relative, margin: 0.015}
"""

WATCHED = """
extends: smoke
improvement: {panel: {every: 1, games: 2, committee: 2}}
world_model: {epochs: 6, learning_rate: 1.0e-2, batch_tokens: 1024}
gates: {min_world_exact: 0}
evaluation: {splits: [valid_seen], lookahead: {worlds: [learned, oracle], horizons: [1, 2], best_of: 2}}
"""

EXPLORING = """
extends: smoke
rollouts: {expert_starts: 0.5, branch_placement: disagreement, branch_states: 2, branch_actions: 3}
improvement: {steered: 0.5, rationalised_weight: 0.1, steps: 4}
evaluation: {splits: [valid_seen]}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with experiments, and a home in which two iterations of `inverse` were run."""
    folder = tmp_path_factory.mktemp("extended")
    (folder / "experiments").mkdir()
    inverse = (
        "extends: smoke\nimprovement: {reward: inverse_prm, rank_by: answer}\n"
        "inverse_prm: {epochs: 2, branches: true}\n"
    )
    (folder / "experiments/inverse.yaml").write_text(inverse, encoding="utf-8")
    (folder / "experiments/patient.yaml").write_text(PATIENT, encoding="utf-8")
    (folder / "experiments/shaped.yaml").write_text(SHAPED, encoding="utf-8")
    (folder / "experiments/relative.yaml").write_text(RELATIVE, encoding="utf-8")
    (folder / "experiments/watched.yaml").write_text(WATCHED, encoding="utf-8")
    (folder / "experiments/exploring.yaml").write_text(EXPLORING, encoding="utf-8")
    run(folder, "run", "inverse")
    return folder


@pytest.fixture(scope="module")
def watched(home: Path) -> ArtifactStore:
    """The same home's store, after an iteration that is watched, and judged by what its answers may lead to."""
    run(home, "run", "watched", "--iterations", "1")
    return ArtifactStore(home / "home/artifacts")


def test_policies_are_improved_and_judged_by_the_inverse_prm(home: Path) -> None:
    assert "Bo2(pi_2, inverse_prm[2])" in run(home, "report", "inverse")
    store = ArtifactStore(home / "home/artifacts")
    assert verify(store).sound
    made_from = {str(version.partition) for version in lineage(store, "inverse", "inverse_prm", 2).versions()}
    assert {"inverse/demonstrations[0]", "inverse/rollouts[1]", "inverse/rollouts[2]"} <= made_from
    improved = store.current("inverse", "improved_policy", 2).manifest
    assert "inverse_prm" in {read.role for read in improved.inputs}
    assert not (home / "home/artifacts/inverse/prm").exists()


def test_one_policy_can_be_judged_again(home: Path) -> None:
    asked = ("-i", "1", "--split", "valid_seen", "--max-steps", "12", "--best-of", "2", "--json")
    (row,) = json.loads(run(home, "evaluate", "inverse", *asked))
    assert (row["ranked_by"], row["best_of"], row["n"]) == ("inverse_prm", 2, 6)


def test_what_differs_is_made_and_all_else_adopted(home: Path) -> None:
    run(home, "run", "patient", "--iterations", "1")
    store = ArtifactStore(home / "home/artifacts")

    def digest(experiment: str, asset: str, iteration: int) -> str:
        return store.head(experiment, asset, iteration).digest

    for asset, iteration in (("initial_policy", 0), ("rollouts", 1), ("inverse_prm", 1)):
        assert digest("patient", asset, iteration) == digest("inverse", asset, iteration)
    assert digest("patient", "improved_policy", 1) != digest("inverse", "improved_policy", 1)
    assert store.current("patient", "improved_policy", 1).manifest.metrics["steps"] == 3
    assert verify(store).sound


def test_several_n_and_judges_are_compared(home: Path) -> None:
    rows = json.loads(run(home, "report", "patient", "--json"))
    tried = {(row["policy"], row["best_of"], row["ranked_by"]) for row in rows}
    reward = {(policy, n, "inverse_prm") for policy in ("pi_0", "pi_1") for n in (2, 3)}
    alone = {("pi_0", 1, None), ("pi_1", 1, None)}
    assert tried == reward | alone | {("pi_1", n, "log_ratio") for n in (2, 3)}, "pi_0 was improved from nothing"
    assert all(row["tokens_per_decision"] > 0 for row in rows)
    report = ArtifactStore(home / "home/artifacts").current("patient", "eval_report", 1)
    assert "](scaling.png)" in (report.path / "page.md").read_text(encoding="utf-8")
    assert (report.path / "scaling.png").exists()
    results = ArtifactStore(home / "home/artifacts").current("patient", "results", 0)
    assert "](scaling.png)" in (results.path / "page.md").read_text(encoding="utf-8")
    assert (results.path / "scaling.png").exists()


def test_improvement_is_watched_by_a_panel_with_a_committee(watched: ArtifactStore) -> None:
    assert watched.head("watched", "rollouts", 1).digest == watched.head("inverse", "rollouts", 1).digest
    improved = watched.current("watched", "improved_policy", 1)
    measured = json.loads((improved.path / "panel.json").read_text(encoding="utf-8"))
    assert [each["step"] for each in measured] == [0, 1, 2]
    assert all(each["disagreement"] > 0 for each in measured)
    assert (improved.path / "panel.png").exists()
    assert improved.manifest.metrics["panel_success_last"] == measured[-1]["success"]
    committee = watched.current("watched", "prm_committee", 1)
    assert sorted(path.name for path in committee.path.glob("member_*")) == ["member_0", "member_1"]
    assert [gate.name for gate in committee.manifest.gates] == ["better_than_constant", "not_hackable"]
    assert {read.asset for read in improved.manifest.inputs} >= {"prm", "prm_committee", "mc_value_targets"}


def test_the_prm_learns_shaped_targets_where_they_are_wanted(home: Path) -> None:
    run(home, "run", "shaped", "--iterations", "1")
    store = ArtifactStore(home / "home/artifacts")
    assert store.head("shaped", "rollouts", 1).digest == store.head("inverse", "rollouts", 1).digest
    made = store.current("shaped", "mc_value_targets", 1)
    assert {read.asset for read in made.manifest.inputs} == {"rollouts", "reference_value"}
    targets = pd.read_parquet(made.path / "targets.parquet")
    assert targets["target"].between(0, 1).all()
    assert targets["advantage"].between(-1, 1).all()
    assert not (home / "home/artifacts/inverse/reference_value").exists()


def test_the_prm_learns_from_pairs_alone_where_that_is_wanted(home: Path) -> None:
    run(home, "run", "relative", "--iterations", "1")
    store = ArtifactStore(home / "home/artifacts")
    assert store.head("relative", "mc_value_targets", 1).digest == store.head("inverse", "mc_value_targets", 1).digest
    targets = pd.read_parquet(store.current("relative", "mc_value_targets", 1).path / "targets.parquet")
    of_state = targets.groupby(["held_out", "state"])["q"]
    apart: Any = of_state.max() - of_state.min() >= 0.015
    assert apart[False].any(), "there are pairs to learn from"
    numbers = store.current("relative", "prm", 1).manifest.metrics
    assert numbers["held_out_states_with_pair"] <= apart[True].sum(), "answers that may not be chosen are left out"
    assert numbers["train_loss"] != numbers["held_out_constant_loss"]
    assert store.current("relative", "improved_policy", 1).manifest.metrics["steps"] == 2


def test_exploration_begins_at_the_experts_states_and_branches_where_the_last_prm_says(home: Path) -> None:
    run(home, "run", "exploring")
    store = ArtifactStore(home / "home/artifacts")
    first, second = (store.current("exploring", "rollouts", i) for i in (1, 2))
    assert "previous_prm" not in {read.role for read in first.manifest.inputs}, "there is none yet"
    before = store.head("exploring", "prm", 1).digest
    assert ("previous_prm", before) in {(read.role, read.digest) for read in second.manifest.inputs}
    expert = {each.game: each for each in read_episodes(store.current("exploring", "demonstrations", 0).path)}
    for made in (first, second):
        played = read_episodes(made.path)
        resets = [episode for episode in played if episode.start and not episode.parent]
        assert len(resets) == made.manifest.metrics["resets"] == 24, "half of four episodes of twelve games"
        assert all(each.turns[: each.start] == expert[each.game].turns[: each.start] for each in resets)
        assert any(episode.parent for episode in played)
        assert 0 < made.manifest.metrics["expert_states_seen"] <= 1
        assert "](coverage.png)" in (made.path / "page.md").read_text(encoding="utf-8")
    improved = [store.current("exploring", "improved_policy", i).manifest for i in (1, 2)]
    assert sum(each.metrics["rationalised"] for each in improved) > 0
    for each in improved:
        assert {read.asset for read in each.inputs} >= {"rollouts", "mc_value_targets", "prm"}


def test_answers_are_ranked_by_what_they_are_predicted_to_lead_to(home: Path, watched: ArtifactStore) -> None:
    rows = json.loads(run(home, "report", "watched", "--json"))
    tokens = {
        (row["world"], row["horizon"]): row["tokens_per_decision"]
        for row in rows
        if row["policy"] == "pi_1" and row["best_of"] == 2
    }
    assert tokens.keys() == {(None, 0), *((world, turns) for world in ("learned", "oracle") for turns in (1, 2))}
    assert tokens[None, 0] < tokens["oracle", 1] < tokens["learned", 1] < tokens["learned", 2]
    assert "MPR2(pi_1, prm[1], h=2, oracle)" in run(home, "report", "watched")
    learnt = watched.current("watched", "world_model", 1)
    assert {read.asset for read in learnt.manifest.inputs} >= {"demonstrations", "rollouts"}
    report = watched.current("watched", "eval_report", 1).manifest
    assert learnt.digest in {read.digest for read in report.inputs}
    assert "world_model.max_reply_tokens" in report.config
    assert verify(watched).sound
