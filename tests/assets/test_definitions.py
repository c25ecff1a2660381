"""What Dagster loads."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from agentprm_dagster.assembly import build_definitions, resources
from agentprm_dagster.commands.lineage import asset_names
from agentprm_dagster.config import Experiment
from agentprm_dagster.config.catalog import ExperimentError, load_catalog
from agentprm_dagster.config.compose import compose
from agentprm_dagster.config.when import Origin, Schedule
from agentprm_dagster.definitions import load
from agentprm_dagster.home import dagster_folder
from agentprm_dagster.iterations import iterations_of
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.stages.chosen import chosen_experiments
from bad_commands import committed
from test_architecture import HEAVY

ROOT = Path(__file__).parents[2]

ASSETS = {
    "behaviour_policy",
    "demonstrations",
    "eval_report",
    "improved_policy",
    "initial_policy",
    "promotion",
    "results",
    "rollouts",
}
WHERE_USED: dict[str, Callable[[Any], bool]] = {
    "mc_value_targets": lambda experiment: experiment.improvement.reward is not None,
    "prm": lambda experiment: experiment.improvement.reward == "prm",
    "inverse_prm": lambda experiment: experiment.improvement.reward == "inverse_prm",
    "prm_committee": lambda experiment: "prm_committee" in experiment.improvement.reads,
    "reference_value": lambda experiment: experiment.targets.kind == "shaped",
    "world_model": lambda experiment: "learned" in experiment.evaluation.lookahead.worlds,
    "react_report": lambda experiment: experiment.llm.evaluate,
}
UNPARTITIONED = {"demonstrations", "initial_policy", "react_report", "reference_value", "results"}


@pytest.fixture(scope="module")
def experiments() -> dict[str, Experiment]:
    """Those of the package, and the quickstart with the studies that use other assets."""
    for study in ("inverse", "hacking", "shaped", "predictive", "react", "rft"):
        compose("quickstart", [study])
    return load_catalog().experiments


@pytest.fixture(scope="module")
def defs(experiments: dict[str, Experiment]) -> dg.Definitions:
    """The definitions of all of them."""
    defs = build_definitions(experiments)
    dg.Definitions.validate_loadable(defs)
    return defs


@pytest.fixture(scope="module")
def graph(defs: dg.Definitions) -> AssetGraph:
    """Their asset graph."""
    return defs.resolve_asset_graph()


def test_what_computes_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def named(compute: str = "") -> object:
        return resources(compute)["stages"].compute  # type: ignore[attr-defined]

    assert named() == "laptop"
    monkeypatch.setenv("AGENTPRM_COMPUTE", "gpu")
    assert (named(), named("laptop")) == ("gpu", "laptop")
    monkeypatch.setenv("AGENTPRM_COMPUTE", "nosuch")
    with pytest.raises(ExperimentError, match="no compute 'nosuch'"):
        named()


def test_every_experiment_has_the_assets_that_it_uses(graph: AssetGraph, experiments: dict[str, Experiment]) -> None:
    used = {
        each.name: {asset for asset, is_used in WHERE_USED.items() if is_used(each)} for each in experiments.values()
    }
    assert set.union(*used.values()) == set(WHERE_USED)
    expected = {dg.AssetKey([name, asset]) for name, more in used.items() for asset in ASSETS | more}
    assert graph.get_all_asset_keys() == expected


def test_one_reward_model_is_read(graph: AssetGraph, experiments: dict[str, Experiment]) -> None:
    for experiment in experiments.values():
        for reads_it in ("improved_policy", "eval_report"):
            parents = {key.path[-1] for key in graph.get(dg.AssetKey([experiment.name, reads_it])).parent_keys}
            assert parents & {"prm", "inverse_prm"} == {experiment.improvement.reward} - {None}


def test_without_a_reward_model_the_policy_is_improved_on_rollouts_alone(graph: AssetGraph) -> None:
    parents = {
        asset: {key.path[-1] for key in graph.get(dg.AssetKey(["quickstart__rft", asset])).parent_keys}
        for asset in ("improved_policy", "eval_report")
    }
    assert parents["improved_policy"] == {"behaviour_policy", "rollouts"}
    assert parents["eval_report"] == {"behaviour_policy", "initial_policy", "improved_policy"}


def test_only_the_behaviour_policy_is_made_elsewhere(graph: AssetGraph) -> None:
    external = graph.get_all_asset_keys() - graph.executable_asset_keys
    assert {key.path[-1] for key in external} == {"behaviour_policy"}


def test_every_asset_is_a_file_of_its_name() -> None:
    assert set(asset_names()) == ASSETS - {"behaviour_policy"} | set(WHERE_USED) | {"oracle"}  # which a command makes


def test_iterations_are_partitions(graph: AssetGraph) -> None:
    whole = {key.path[-1] for key in graph.get_all_asset_keys() if not graph.get(key).is_partitioned}
    assert whole == UNPARTITIONED


def test_no_experiment_reads_another(graph: AssetGraph) -> None:
    for key in graph.get_all_asset_keys():
        assert {parent.path[0] for parent in graph.get(key).parent_keys} <= {key.path[0]}


def test_stages_have_gates_that_block(graph: AssetGraph) -> None:
    gated = {key.asset_key.path[-1] for key in graph.asset_check_keys}
    assert gated == ASSETS - {"behaviour_policy", "results"} | set(WHERE_USED)
    assert all(graph.get(key).blocking for key in graph.asset_check_keys)


def test_assets_say_what_they_are(graph: AssetGraph) -> None:
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description
        assert node.kinds
        assert set(node.tags) >= {"environment", "model"}
        assert node.code_version


def test_the_link_to_the_source_leads_to_the_assets_file(graph: AssetGraph) -> None:
    for key in graph.executable_asset_keys:
        (place,) = graph.get(key).metadata["dagster/code_references"].code_references
        assert Path(place.file_path).name == f"{key.path[-1]}.py"


def test_iterations_belong_to_their_experiment(graph: AssetGraph) -> None:
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        if node.partitions_def is not None:
            assert node.partitions_def == iterations_of(key.path[0])


def test_results_are_overdue_where_the_schedule_says_so(experiments: dict[str, Experiment]) -> None:
    daily = experiments["smoke"].model_copy(update={"schedule": Schedule(fresh_hours=26)})
    graph = build_definitions({"smoke": daily}).resolve_asset_graph()
    policies = {key.path[-1]: graph.get(key).freshness_policy for key in graph.get_all_asset_keys()}
    assert [name for name, policy in policies.items() if policy] == ["results"]
    assert policies["results"] == dg.FreshnessPolicy.time_window(timedelta(hours=26))


def test_owners_are_the_experiments(experiments: dict[str, Experiment]) -> None:
    owned = experiments["smoke"].model_copy(update={"owners": ("team:rewards", "ada@example.org")})
    graph = build_definitions({"smoke": owned}).resolve_asset_graph()
    assert graph.get(dg.AssetKey(["smoke", "prm"])).owners == ["team:rewards", "ada@example.org"]


def test_code_that_was_chosen_is_in_the_version_of_the_code(experiments: dict[str, Experiment]) -> None:
    def version(name: str, asset: str) -> str | None:
        return (
            build_definitions({name: experiments[name]})
            .resolve_asset_graph()
            .get(dg.AssetKey([name, asset]))
            .code_version
        )

    assert version("quickstart", "prm") == version("quickstart__shaped", "prm")
    assert version("quickstart", "mc_value_targets") != version("quickstart__shaped", "mc_value_targets")


def test_a_branch_shows_where_it_comes_from(experiments: dict[str, Experiment]) -> None:
    branch = experiments["smoke"].model_copy(
        update={"name": "branch", "origin": Origin(experiment="smoke", iteration=1)}
    )
    graph = build_definitions({"smoke": experiments["smoke"], "branch": branch}).resolve_asset_graph()
    parents = graph.get(dg.AssetKey(["branch", "initial_policy"])).parent_keys
    assert parents == {dg.AssetKey(["smoke", "improved_policy"])}


def test_one_job_schedule_and_sensor_for_each_experiment(
    defs: dg.Definitions, experiments: dict[str, Experiment]
) -> None:
    names = set(experiments)
    repository = defs.get_repository_def()
    assert {name for name in repository.job_names if not name.startswith("__")} == names
    assert {schedule.name for schedule in repository.schedule_defs} == set()
    assert {sensor.name for sensor in repository.sensor_defs} == {f"{name}_automation" for name in names}


def test_two_experiments_share_a_code_location() -> None:
    smoke = load_catalog().experiments["smoke"]
    twice = {name: smoke.model_copy(update={"name": name}) for name in ("one", "two")}
    used = {*ASSETS, "mc_value_targets", "prm"}
    assert len(build_definitions(twice).resolve_asset_graph().get_all_asset_keys()) == 2 * len(used)


def test_dagster_loads_what_was_run_or_is_asked_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded() -> set[str]:
        return {name for name in load().get_repository_def().job_names if not name.startswith("__")}

    assert (loaded(), home.exists()) == ({"quickstart", "smoke"}, False)
    (steered,) = compose("smoke", ["steered"])
    assert loaded() == {"quickstart", "smoke"}, "composed, and not run yet"
    committed(home.parent, steered)
    assert loaded() == {"quickstart", "smoke", steered}
    monkeypatch.setenv("AGENTPRM_LOAD", "alfworld, smoke,")
    assert loaded() == {"quickstart", "smoke", steered, "alfworld"}


def test_artifacts_without_an_experiment_are_told(home: Path) -> None:
    committed(home.parent, "steered_quickstart")
    experiments, errors = chosen_experiments(ArtifactsResource().store())
    assert set(experiments) == {"quickstart", "smoke"}
    assert "has artifacts of steered_quickstart, and there is no experiment of such a name" in str(errors.pop())


def test_the_workspace_names_the_definitions() -> None:
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text(encoding="utf-8"))
    named = {"module_name": "agentprm_dagster.definitions", "location_name": "agentprm"}
    assert workspace == {"load_from": [{"python_module": named}]}


def test_dg_loads_the_definitions(home: Path) -> None:
    dg_command = Path(sys.executable).with_name("dg")
    environment = {**os.environ, "DAGSTER_HOME": str(dagster_folder())}
    answer = subprocess.run(
        [dg_command, "check", "defs"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert "All definitions loaded successfully." in answer.stdout + answer.stderr


def test_loading_imports_no_heavy_library() -> None:
    code = (
        "import sys; from agentprm_dagster.definitions import defs; defs.get_repository_def(); "
        f"print(*({HEAVY} & sys.modules.keys()))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert answer.stdout.split() == []
