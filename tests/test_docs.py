"""What README and docs/ name is there: pages, files, settings, commands; their samples run.

The samples that need an experiment which has run are run in tests/e2e/test_smoke.py.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml
from pydantic import BaseModel

from agentprm_dagster.cli import app
from agentprm_dagster.component import ExperimentComponent
from agentprm_dagster.config import Compute, Experiment
from agentprm_dagster.config.catalog import load_compute, read_experiment, study_files
from agentprm_dagster.config.compose import compose
from pages import PAGES, ROOT, SITE, blocks, commands, prose

FOLDERS = ("agentprm_dagster", "assets", "resources", "deploy", "tests", "benchmarks", "docs", "examples")
FILES = [path for name in FOLDERS
         for path in (ROOT / name).rglob("*.*")] + [*ROOT.glob("*.*")]  # fmt: skip
ON_EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def anchors(page: Path) -> set[str]:
    """What a page's headings are linked by."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@ON_EVERY_PAGE
def test_links_lead_to_pages_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        name, _, heading = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.is_file(), f"{page.name}: no file {target}"
        assert not heading or heading in anchors(linked), f"{page.name}: no heading {target}"


def test_every_page_stands_once_in_the_site() -> None:
    def leaves(nav: Any) -> Iterator[str]:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from [entry] if isinstance(entry, str) else leaves(entry)

    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(leaves(nav)) == [page.name for page in SITE]


@ON_EVERY_PAGE
def test_named_files_are_there(page: Path) -> None:
    named = re.findall(r"`([\w./-]+\.(?:py|yaml|md|toml|ipynb))`", prose(page))
    assert [name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in FILES)] == []


def settings(model: type[BaseModel]) -> Iterator[str]:
    """`section.key` of all settings below a model, those of every kind included."""

    def models(annotation: Any) -> Iterator[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        for part in get_args(annotation):
            yield from models(part)

    for name, field in model.model_fields.items():
        yield name
        for below in models(field.annotation):
            yield from (f"{name}.{key}" for key in settings(below))


@ON_EVERY_PAGE
def test_named_settings_are_settings(page: Path) -> None:
    known = {*settings(Experiment), *settings(Compute)}
    named = re.findall(r"`([a-z_]+\.[a-z_.]+)(?:=[^`]*|: [^`]*)?`", prose(page))
    asked = [name for name in named if name.split(".")[0] in known and not name.endswith(".py")]
    assert [name for name in asked if name not in known] == []


@ON_EVERY_PAGE
def test_commands_can_be_called(page: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "games").mkdir()
    for arguments in commands(page, "agentprm"):
        command: Any = typer.main.get_command(app)
        while hasattr(command, "commands"):
            assert arguments[0] in command.commands, f"no command {arguments[0]}"
            command, arguments = command.commands[arguments[0]], arguments[1:]
        given = command.make_context(command.name, arguments).params  # refuses what is unknown or out of range
        if command.name == "run":
            seeds = [int(seed) for seed in (given["seeds"] or "").split(",") if seed]
            compose(given["experiment"], given["studies"] or (), given["settings"] or (), seeds)


@ON_EVERY_PAGE
def test_targets_of_make_are_there(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target, *_ in commands(page, "make"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"no target {target}"


@ON_EVERY_PAGE
def test_experiments_and_computes_are_valid(page: Path, home: Path, tmp_path: Path) -> None:
    for i, block in enumerate(blocks(page, "yaml")):
        path = tmp_path / f"sample_{i}.yaml"
        path.write_text(block, encoding="utf-8")
        given = yaml.safe_load(block)
        if given.get("type") == f"{ExperimentComponent.__module__}.ExperimentComponent":
            ExperimentComponent(**given["attributes"])
        elif given.keys() <= Compute.model_fields.keys():
            load_compute(str(path))
        else:
            read_experiment(path)


@ON_EVERY_PAGE
def test_samples_run(page: Path) -> None:
    for block in blocks(page, "python"):
        if not re.search(r"ArtifactsResource|tracking_uri\(\)", block):  # they need what an experiment has made
            exec(compile(block, str(page), "exec"), {"__name__": "sample"})


def test_every_study_is_described() -> None:
    page = prose(ROOT / "docs" / "running.md")
    assert [name for name in study_files() if f"`{name}`" not in page] == []
