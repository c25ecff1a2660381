"""What Dagster loads."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from agentprm_dagster.catalog import load_experiments
from agentprm_dagster.definitions import build_definitions, defs

ASSETS = {
    "behaviour_policy",
    "demonstrations",
    "eval_report",
    "improved_policy",
    "initial_policy",
    "mc_value_targets",
    "results",
    "rollouts",
}
UNPARTITIONED = {"demonstrations", "initial_policy", "results"}


@pytest.fixture(scope="module")
def graph() -> AssetGraph:
    """The asset graph of all experiments."""
    dg.Definitions.validate_loadable(defs)
    return defs.resolve_asset_graph()


def test_every_experiment_has_every_asset_and_one_reward_model(graph: AssetGraph) -> None:
    rewards = {name: experiment.improvement.reward for name, experiment in load_experiments().items()}
    assert set(rewards.values()) == {"prm", "inverse_prm"}
    committees = {name for name, experiment in load_experiments().items() if experiment.improvement.panel.committee}
    assert committees
    imagining = {name for name, each in load_experiments().items() if "learned" in each.evaluation.foresight.worlds}
    assert imagining
    expected = {dg.AssetKey([name, asset]) for name, reward in rewards.items() for asset in {*ASSETS, reward}}
    expected |= {dg.AssetKey([name, "prm_committee"]) for name in committees}
    assert graph.get_all_asset_keys() == expected | {dg.AssetKey([name, "world_model"]) for name in imagining}
    for name, reward in rewards.items():
        for reads_it in ("improved_policy", "eval_report"):
            parents = {key.path[-1] for key in graph.get(dg.AssetKey([name, reads_it])).parent_keys}
            assert parents & set(rewards.values()) == {reward}


def test_only_the_behaviour_policy_is_made_elsewhere(graph: AssetGraph) -> None:
    external = graph.get_all_asset_keys() - graph.executable_asset_keys
    assert {key.path[-1] for key in external} == {"behaviour_policy"}


def test_iterations_are_partitions(graph: AssetGraph) -> None:
    whole = {key.path[-1] for key in graph.get_all_asset_keys() if not graph.get(key).is_partitioned}
    assert whole == UNPARTITIONED


def test_no_experiment_reads_another(graph: AssetGraph) -> None:
    for key in graph.get_all_asset_keys():
        assert {parent.path[0] for parent in graph.get(key).parent_keys} <= {key.path[0]}


def test_stages_have_gates_that_block(graph: AssetGraph) -> None:
    gated = {key.asset_key.path[-1] for key in graph.asset_check_keys}
    assert gated == ASSETS - {"behaviour_policy", "results"} | {"prm", "inverse_prm", "prm_committee", "world_model"}
    assert all(graph.get(key).blocking for key in graph.asset_check_keys)


def test_assets_say_what_they_are(graph: AssetGraph) -> None:
    assert all(graph.get(key).description for key in graph.get_all_asset_keys())


def test_one_job_schedule_and_sensor_for_each_experiment() -> None:
    names = set(load_experiments())
    repository = defs.get_repository_def()
    assert {name for name in repository.job_names if not name.startswith("__")} == names
    assert {schedule.name for schedule in repository.schedule_defs} == {f"{name}_nightly" for name in names}
    assert {sensor.name for sensor in repository.sensor_defs} == {f"{name}_automation" for name in names}


def test_two_experiments_share_a_code_location() -> None:
    smoke = load_experiments()["smoke"]
    twice = {name: smoke.model_copy(update={"name": name}) for name in ("one", "two")}
    assert len(build_definitions(twice).resolve_asset_graph().get_all_asset_keys()) == 2 * len({*ASSETS, "prm"})


def test_the_workspace_names_the_definitions() -> None:
    workspace = yaml.safe_load((Path(__file__).parents[2] / "workspace.yaml").read_text(encoding="utf-8"))
    assert workspace == {"load_from": [{"python_module": "agentprm_dagster.definitions"}]}


def test_loading_imports_no_heavy_library() -> None:
    heavy = {"alfworld", "matplotlib", "mlflow", "textworld", "torch", "transformers", "trl"}
    code = (
        "import sys; from agentprm_dagster.definitions import defs; defs.get_repository_def(); "
        f"print(*({heavy} & sys.modules.keys()))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert answer.stdout.split() == []
