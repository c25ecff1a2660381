"""Improvement without a reward model, end to end on `smoke`: what is made and read, and that rollouts are shared."""

import json
from pathlib import Path

import pytest

from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import verify
from installed import call


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which `rft` was run."""
    folder = tmp_path_factory.mktemp("baselines")
    ran = call(folder, "run", "smoke", "--with", "rft", "--iterations", "1")
    assert ran.returncode == 0, ran.stderr
    return folder


def test_no_reward_model_is_made_or_read(home: Path) -> None:
    store = ArtifactStore(home / "artifacts")
    made = {artifact.version.asset: artifact for artifact in store.artifacts()}
    assert not made.keys() & {"prm", "inverse_prm", "prm_committee", "mc_value_targets"}
    read = {asset: [each.role for each in made[asset].manifest.inputs] for asset in ("improved_policy", "eval_report")}
    assert read == {
        "improved_policy": ["behaviour_policy", "rollouts"],
        "eval_report": ["improved_policy", "initial_policy"],
    }
    assert made["improved_policy"].manifest.metrics["trained_tokens"] > 0
    assert verify(store).sound


def test_policies_are_judged_alone(home: Path) -> None:
    rows = json.loads(call(home, "report", "smoke__rft", "--json").stdout)
    assert {(row["iteration"], row["ranked_by"]) for row in rows} == {(0, None), (1, None)}


def test_what_asks_a_reward_model_says_that_there_is_none(home: Path) -> None:
    for asked in (("evaluate", "smoke__rft", "-i", "1", "--best-of", "2"), ("watch", "smoke__rft", "-i", "1")):
        refused = call(home, *asked)
        assert refused.returncode == 2
        assert "trains no PRM" in " ".join(refused.stderr.replace("│", " ").split())


@pytest.mark.slow
def test_all_kinds_learn_from_the_same_rollouts(home: Path) -> None:
    for more in ((), ("--with", "outcome_dpo"), ("--with", "implicit_dpo"), ("--with", "grpo")):
        ran = call(home, "run", "smoke", "--iterations", "1", *more)
        assert ran.returncode == 0, ran.stderr
    store = ArtifactStore(home / "artifacts")
    policies = [
        store.current(name, "improved_policy", 1)
        for name in ("smoke", "smoke__rft", "smoke__outcome_dpo", "smoke__implicit_dpo", "smoke__grpo")
    ]
    read = {tuple(each.version.digest for each in made.manifest.inputs if each.role == "rollouts") for made in policies}
    assert len(read) == 1
    assert len({made.digest for made in policies}) == 5
    compared = call(home, "compare", "smoke", "smoke__grpo", "--json")
    assert compared.returncode == 0, compared.stderr
