"""A pretrained model is tried before anything is made for it, and not again."""

import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from agentprm_dagster.commands.run import failures, run_experiment, run_iteration
from agentprm_dagster.config import Model
from agentprm_dagster.engine.architectures import ArchitectureError
from agentprm_dagster.engine.base_model import BaseModelError
from agentprm_dagster.engine.templates import ChatTemplateError
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.dialogue import Format, Wording
from agentprm_dagster.iterations import add_iterations
from agentprm_dagster.stages.base_models import require_exact_base
from agentprm_dagster.training import exactness
from pretrained import CHATML, byte_tokenizer, checkpoint
from toy import toy_definitions, toy_trainers, write_toy

REFUSES_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML


def require(name: str | Path, dialogue: Format = "append") -> None:
    require_exact_base(Model(name=str(name)), WORDING, dialogue)


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Format]]:
    """What was tried."""
    tried: list[tuple[Path, Format]] = []
    real = exactness.require_exact_model

    def counted(folder: Path, wording: Wording, dialogue: Format) -> None:
        tried.append((folder, dialogue))
        real(folder, wording, dialogue)

    monkeypatch.setattr(exactness, "require_exact_model", counted)
    return tried


def test_it_is_tried_once_for_its_bytes_and_format(home: Path, tmp_path: Path, trials: list[object]) -> None:
    folder = checkpoint(tmp_path)
    for _ in range(2):
        require(folder)
    assert trials == [(folder, "append")]
    require(folder, "restated")
    assert trials[1:] == [(folder, "restated")]
    (folder / "generation_config.json").write_text("{}")
    require(folder)
    assert len(trials) == 3
    assert [path.stat().st_size for path in (home / "checked").iterdir()] == [0, 0, 0]


def test_what_was_refused_is_tried_again(home: Path, tmp_path: Path, trials: list[object]) -> None:
    folder = checkpoint(tmp_path, tokenizer=byte_tokenizer(REFUSES_SYSTEM))
    for _ in range(2):
        with pytest.raises(ChatTemplateError, match=r"no system.*use dialogue.format: restated"):
            require(folder)
    assert len(trials) == 2
    require(folder, "restated")


def test_the_embedded_model_needs_no_trial(home: Path, trials: list[object]) -> None:
    require("embedded")
    assert (trials, home.exists()) == ([], False)


def no_template(folder: Path) -> Path:
    return checkpoint(folder, tokenizer=byte_tokenizer(None))


def no_type(folder: Path) -> Path:
    path = checkpoint(folder)
    (path / "config.json").write_text('{"model_type": "mamba"}')
    return path


@pytest.mark.parametrize(
    ("make", "kind", "told"),
    [
        (no_template, ChatTemplateError, "has no chat template"),
        (no_type, ArchitectureError, "a model of type 'mamba'"),
        (lambda folder: folder / "gone", BaseModelError, "is no folder here"),
        (lambda folder: checkpoint(folder, "cohere"), ArchitectureError, "no sequence-classification model"),
    ],
)
def test_nothing_is_made_for_a_model_that_cannot_be_used(
    make: Callable[[Path], Path],
    kind: type[Exception],
    told: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "yaml").mkdir()
    folder = make(tmp_path)
    (tmp_path / "yaml" / "tried.yaml").write_text(f"model: {{name: {folder}}}\nsft: {{optimizer: adamw}}")
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(tmp_path / "yaml"))
    with pytest.raises(kind, match=told):
        run_experiment("tried", 1)
    assert not home.exists()


def test_a_stage_that_was_started_by_itself_tries_it_too(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From Dagster's page a stage is not started through the command line."""
    write_toy(tmp_path / "yaml")
    with (tmp_path / "yaml" / "toy.yaml").open("a") as file:
        file.write(f"model: {{name: {no_template(tmp_path)}}}\n")
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(tmp_path / "yaml"))
    for name, module in toy_trainers().items():
        monkeypatch.setitem(sys.modules, name, module)
    instance = dg.DagsterInstance.ephemeral()
    add_iterations(instance, "toy", 1)
    result = run_iteration(toy_definitions(), instance, "toy", 1)
    (told,) = failures(result)
    assert told.startswith("initial_policy failed: ChatTemplateError")
