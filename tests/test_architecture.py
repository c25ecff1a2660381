"""The house stays as it was drawn: who may import whom, and what is packaged."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentprm_dagster.config.catalog import experiment_files, load_catalog
from agentprm_dagster.envs.kinds import KINDS
from agentprm_dagster.improvement.kinds import KINDS as IMPROVEMENTS
from agentprm_dagster.provenance.code import asset_modules, reached_sources
from agentprm_dagster.targets.kinds import KINDS as TARGETS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "agentprm_dagster"

BELOW = {"garbage", "guard", "processor", "masking", "section", "workers"}
"""Small helpers that any room may use."""

MAY_IMPORT = {
    "garbage": set(),
    "guard": set(),
    "processor": set(),
    "masking": set(),
    "section": set(),
    "cluster": set(),
    "workers": set(),
    "episodes": set(),
    "algorithm": {"episodes"},
    "config": {"engine", "envs", "episodes", "home", "improvement", "targets"},
    "home": {"episodes"},
    "envs": {"episodes"},
    "rollouts": {"envs", "episodes"},
    "engine": {"cluster", "episodes"},
    "agents": {"engine", "envs", "episodes", "rollouts"},
    "launch": {"agents", "algorithm", "cluster", "config", "engine", "envs", "episodes", "rollouts"},
    "reports": {"algorithm", "episodes", "rollouts"},
    "training": {"algorithm", "config", "engine", "episodes", "launch", "reports"},
    "improvement": {
        "agents", "algorithm", "config", "engine", "envs", "episodes", "launch", "reports", "rollouts", "training",
    },
    "bundles": {
        "algorithm", "config", "engine", "envs", "episodes", "launch", "provenance", "reports", "resources", "stages",
    },
    "oracle": {
        "algorithm", "config", "engine", "envs", "episodes", "launch", "provenance", "reports", "resources", "rollouts",
    },
    "programs": {
        "algorithm", "envs", "episodes", "improvement", "launch", "reports", "rollouts", "stages", "training",
    },
    "targets": {"algorithm", "envs", "episodes", "training"},
    "planning": {"config", "engine", "episodes", "improvement"},
    "provenance": {"episodes"},
    "tracking": {"algorithm", "episodes", "home", "provenance", "reports"},
    "iterations": {"provenance"},
    "automation": {"config", "iterations", "provenance", "resources", "stages"},
    "scoring": {
        "agents", "algorithm", "bundles", "config", "engine", "envs", "episodes", "home", "iterations", "launch",
        "provenance", "resources", "rollouts", "stages",
    },
    "stages": {
        "algorithm", "cluster", "config", "engine", "envs", "episodes", "home", "iterations", "launch", "provenance",
        "reports", "training",
    },
    "resources": {
        "agents", "config", "engine", "envs", "episodes", "home", "iterations", "launch", "provenance", "rollouts",
        "stages", "tracking",
    },
    "assets": {
        "algorithm", "engine", "envs", "episodes", "improvement", "iterations", "launch", "programs", "provenance",
        "reports", "resources", "rollouts", "stages", "targets", "training",
    },
}  # fmt: skip
"""By room, besides itself and what is BELOW. Only `assembly` and what is made of it know all."""

PLAIN = ("algorithm", "episodes", "reports", "rollouts")
"""Rooms that need nothing but tables and numbers."""
PLAIN_LIBRARIES = {"matplotlib", "numpy", "pandas", "pyarrow", "scipy"}
HEAVY = {
    "alfworld",
    "datasets",
    "gguf",
    "jericho",
    "matplotlib",
    "mlflow",
    "openai",
    "openenv",
    "pandas",
    "scipy",
    "textworld",
    "torch",
    "transformers",
    "trl",
}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module by its dotted name within the package, and its file."""
    for folder, prefix in ((PACKAGE, ""), (ROOT / "assets", "assets."), (ROOT / "resources", "resources.")):
        for path in sorted(folder.rglob("*.py")):
            yield prefix + ".".join(path.relative_to(folder).with_suffix("").parts), path


def imports(path: Path, *, top_only: bool = False) -> set[str]:
    """The modules a file imports; with `top_only` those it imports when it is itself imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_only else ast.walk(tree)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize(("name", "path"), [pytest.param(*module, id=module[0]) for module in modules()])
def test_arrows(name: str, path: Path) -> None:
    part = name.split(".")[0]
    if part not in MAY_IMPORT:
        assert part in {"__init__", "assembly", "cli", "commands", "component", "definitions"}
        return
    known = {imported.split(".")[1] for imported in imports(path) if imported.startswith("agentprm_dagster.")}
    assert known <= {part, *BELOW, *MAY_IMPORT[part]}


@pytest.mark.parametrize("room", PLAIN)
def test_plain_rooms_need_only_the_standard_library_and_tables(room: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        outside = {imported.split(".")[0] for imported in imports(path)} - {"agentprm_dagster", *PLAIN_LIBRARIES}
        assert outside <= {*sys.stdlib_module_names, *({"torch"} if room == "algorithm" else ())}, path


@pytest.mark.parametrize("folder", ["assets", "resources", "agentprm_dagster"])
def test_what_dagster_loads_imports_nothing_heavy(folder: str) -> None:
    for path in (ROOT / folder).glob("*.py"):
        assert not {imported.split(".")[0] for imported in imports(path, top_only=True)} & HEAVY, path


TRAINS = {"algorithm", "engine", "episodes", "launch", "processor", "reports", "training"}
PLAYS = {"agents", "engine", "envs", "episodes", "reports", "resources", "rollouts"}
IN_PROCESSES = PLAYS | {"launch"}
ASKS = PLAYS | {"masking"}

REACH = {
    "behaviour_policy": set(),
    "demonstrations": ASKS,
    "eval_report": IN_PROCESSES | {"algorithm", "stages"},
    "improved_policy": {"envs", "episodes", "improvement", "launch.job", "resources"},
    "initial_policy": (TRAINS - {"reports"}) | {"envs", "resources", "rollouts"},
    "inverse_prm": TRAINS,
    "mc_value_targets": {"episodes", "reports", "algorithm", "targets", "envs", "resources"},
    "prm": TRAINS,
    "prm_committee": TRAINS,
    "promotion": {"algorithm", "episodes", "reports", "stages"},
    "react_report": ASKS | {"algorithm"},
    "reference_value": TRAINS,
    "results": {"algorithm", "envs.base", "episodes", "reports", "stages"},
    "rollouts": IN_PROCESSES,
    "world_model": TRAINS,
}
"""What an asset's digest covers, besides the asset itself: rooms or single modules, by import, plumbing left out."""


@pytest.mark.parametrize("asset", sorted(REACH))
def test_reach(asset: str) -> None:
    reached = {name.removeprefix("agentprm_dagster.") for name in reached_sources(f"agentprm_dagster.assets.{asset}")}
    allowed = {f"assets.{asset}", f"programs.{asset}", *REACH[asset]}
    assert {name for name in reached if not {name, name.split(".")[0]} & allowed} == set()
    assert {each for each in REACH[asset] if not any(f"{name}.".startswith(f"{each}.") for name in reached)} == set()


def test_targets_by_eq_1_reach_little() -> None:
    assert len(reached_sources("agentprm_dagster.assets.mc_value_targets", TARGETS["mc"])) < 20


def test_the_kind_of_improvement_is_covered_and_no_other() -> None:
    of = {
        name: reached_sources("agentprm_dagster.assets.improved_policy", module).keys()
        for name, module in IMPROVEMENTS.items()
    }
    assert "agentprm_dagster.improvement.online_dpo" in of["dpo"] - of["trl"]
    assert "agentprm_dagster.improvement.trl_online_dpo" in of["trl"] - of["dpo"]
    assert "agentprm_dagster.training.sft" not in of["dpo"]


def test_every_asset_has_its_reach() -> None:
    assert set(asset_modules()) == REACH.keys()


KNOW_EXPERIMENTS = {
    "assembly", "automation", "bundles", "commands", "component", "config", "launch.request", "planning",
    "resources.stages", "scoring.panel", "scoring.policies", "stages.pinned",
}  # fmt: skip
"""What may see an experiment as a whole: none of them does a stage's work."""

KNOW_ALFWORLD = {"commands.doctor", "commands.evaluate", "commands.games", "commands.play", "commands.serve"}
"""What is for ALFWorld's games alone."""


@pytest.mark.parametrize(("name", "path"), [pytest.param(*module, id=module[0]) for module in modules()])
def test_no_room_knows_an_environment_by_name(name: str, path: Path) -> None:
    of_one = {imported.split(".")[2] for imported in imports(path) if imported.startswith("agentprm_dagster.envs.")}
    known = {kind for kind in KINDS if kind in of_one}
    assert known <= {name.split(".")[1]} if name.startswith("envs.") else not known or name in KNOW_ALFWORLD


@pytest.mark.parametrize(("name", "path"), [pytest.param(*module, id=module[0]) for module in modules()])
def test_who_does_the_work_is_given_sections_and_never_the_experiment(name: str, path: Path) -> None:
    whole = ("config.Experiment", "config.experiment.Experiment", "config.catalog.load_experiment")
    known = imports(path) & {f"agentprm_dagster.{each}" for each in whole}
    assert not known or name.split(".")[0] in KNOW_EXPERIMENTS or name in KNOW_EXPERIMENTS


def test_every_folder_is_a_package() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()], "setup.py would not find them"
    assert not list((ROOT / "assets").glob("*/*.py")), "assets/ is flat"
    assert not list((ROOT / "resources").glob("*/*.py")), "resources/ is flat"


def test_every_experiment_loads() -> None:
    assert load_catalog().experiments.keys() == experiment_files().keys()


def test_files_are_short() -> None:
    long = {name: n for name, path in modules() if (n := len(path.read_text(encoding="utf-8").splitlines())) > 350}
    assert not long
