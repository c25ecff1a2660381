"""The model an experiment begins with: found in a folder or the hub's cache, and told apart by its bytes."""

import json
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from agentprm_dagster.config import Model
from agentprm_dagster.engine import base_model, checkpoints
from agentprm_dagster.engine.base_model import BaseModelError, base_folder, base_identity
from agentprm_dagster.engine.checkpoint_files import CheckpointError
from pretrained import CHATML, byte_tokenizer, checkpoint


def test_a_base_model_may_be_a_path(policy_folder: Path) -> None:
    folder = base_folder(Model(name=str(policy_folder)))
    assert checkpoints.load_policy(folder).config.vocab_size == len(checkpoints.load_tokenizer(folder))


def test_a_tilde_is_the_home_folder(policy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(policy_folder.parent))
    assert base_folder(Model(name=f"~/{policy_folder.name}")) == policy_folder


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"])
def test_other_bytes_are_another_model(file: str, policy_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(policy_folder, copy)
    identity = base_identity(Model(name=str(policy_folder)))
    assert base_identity(Model(name=str(copy))) == identity
    with (copy / file).open("ab") as changed:
        changed.write(b" ")
    assert base_identity(Model(name=str(copy))) != identity


def test_all_that_is_read_counts_and_nothing_else(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, tokenizer=byte_tokenizer({"default": CHATML, "other": CHATML}))
    (folder / "sub").mkdir()
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "sub" / "w.safetensors")
    index = {"weight_map": dict.fromkeys(weights, "sub/w.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    model = Model(name=str(folder))
    before = base_identity(model)
    for name in ("README.md", "other.safetensors", "pytorch_model.bin", "evil.py"):
        (folder / name).write_bytes(b"not read")
    assert base_identity(model) == before
    for name in ("generation_config.json", "additional_chat_templates/other.jinja", "vocab.txt", "sub/x.tiktoken"):
        with (folder / name).open("ab") as file:
            file.write(b" ")
        assert base_identity(model) != before
        before = base_identity(model)
    doubled = {name: 2 * weight for name, weight in weights.items()}
    save_file(doubled, folder / "sub" / "w.safetensors", metadata={"format": "pt"})
    assert base_identity(model) != before


def test_what_templates_take_for_the_time_counts(policy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(name=str(policy_folder))
    before = base_identity(model)
    assert before["chat_template_time"] == "2024-07-26T00:00:00"
    monkeypatch.setattr(base_model, "NOW", datetime(2025, 1, 1))
    assert base_identity(model) != before


def test_a_folder_without_weights_has_no_identity(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a Hugging Face checkpoint folder"):
        base_identity(Model(name=str(tmp_path)))


def test_the_embedded_model_is_told_by_its_settings() -> None:
    assert base_identity(Model()) == {}


@pytest.fixture
def hub(policy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache with one model, of which `main` and the branch `tuned` are different commits."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--someone--tiny"
    for branch, commit in (("main", "a" * 40), ("tuned", "b" * 40)):
        shutil.copytree(policy_folder, repository / "snapshots" / commit)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / branch).write_text(commit)
    (repository / "snapshots" / ("b" * 40) / "config.json").open("a").write("\n")
    return repository


def test_a_hub_model_is_its_snapshot(hub: Path) -> None:
    main, tuned = Model(name="someone/tiny"), Model(name="someone/tiny", revision="tuned")
    assert [base_folder(each).name[0] for each in (main, tuned)] == ["a", "b"]
    assert base_identity(main) != base_identity(tuned)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (Model(name="someone/other"), r"model\.name: someone/other is no folder here, and .* HF_HUB_OFFLINE=0"),
        (Model(name="someone/tiny", revision="gone"), r"at gone is not in the cache"),
        (Model(name="/no/such/folder/here"), r"/no/such/folder/here is no folder here"),
    ],
)
def test_what_is_nowhere_is_asked_for(model: Model, told: str, hub: Path) -> None:
    with pytest.raises(BaseModelError, match=told):
        base_folder(model)
