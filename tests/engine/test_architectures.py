"""docs/models.md says what is so: every architecture in it is computed as transformers computes it, or refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import CONFIG_MAPPING, LlamaConfig, Phi3Config, PreTrainedConfig

from agentprm_dagster.engine import architectures, checkpoints
from agentprm_dagster.engine.architectures import (
    WITH_PRM,
    WITHOUT_PRM,
    ArchitectureError,
    context_of,
    require_length,
)
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.checkpoint_files import CheckpointError
from agentprm_dagster.engine.embedded import attention
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.training import exactness
from agentprm_dagster.training.exactness import TOLERANCE, policy_differences, require_exact_model
from pretrained import WINDOWED, byte_tokenizer, checkpoint

TABLE = Path(__file__).parents[2] / "docs" / "models.md"


def rows() -> dict[str, tuple[str, str]]:
    """What the table says of policy and PRM, by type of model."""
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    of_models = [row for row in cells if len(row) == 4][1:]
    return {name: (policy, prm) for name, policy, prm, _ in of_models}


REFUSED = sorted(name for name, said in rows().items() if said == ("refused", "refused"))


def test_the_table_has_every_architecture() -> None:
    said = rows()
    assert {name for name, each in said.items() if each == ("exact", "exact")} == WITH_PRM
    assert {name for name, each in said.items() if each == ("exact", "none in transformers")} == WITHOUT_PRM
    assert set(REFUSED) == said.keys() - WITH_PRM - WITHOUT_PRM
    assert said.keys() <= set(CONFIG_MAPPING)


@pytest.mark.parametrize("model_type", sorted(WITH_PRM))
def test_exact(model_type: str, tmp_path: Path) -> None:
    require_exact_model(checkpoint(tmp_path, model_type), WORDING, "append")


@pytest.mark.parametrize("model_type", ["gemma2", "mistral", "gpt2"])
def test_exact_where_turns_restate_the_history(model_type: str, tmp_path: Path) -> None:
    require_exact_model(checkpoint(tmp_path, model_type), WORDING, "restated")


@pytest.mark.parametrize("model_type", sorted(WITHOUT_PRM))
def test_exact_as_a_policy_alone(model_type: str, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, model_type)
    differences, _ = policy_differences(folder, Chat(checkpoints.load_tokenizer(folder), WORDING), "append")
    assert max(differences.values()) < TOLERANCE
    with pytest.raises(ArchitectureError, match=rf"type '{model_type}', of which transformers has no sequence-class"):
        require_exact_model(folder, WORDING, "append")


@pytest.mark.parametrize("model_type", [*REFUSED, "evil"])
def test_refused_by_name(model_type: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    told = rf"a model of type '{model_type}', .* expected one of arcee, .*llama"
    for load in (checkpoints.load_policy, checkpoints.load_prm):
        with pytest.raises(ArchitectureError, match=told):
            load(tmp_path)


def heads_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exactness, "language_head", lambda model: model.get_output_embeddings())


def no_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    def masks(config: PreTrainedConfig, *where: Any) -> torch.Tensor | dict[str, torch.Tensor]:
        return attention.layer_masks(PreTrainedConfig(), *where)

    monkeypatch.setattr("agentprm_dagster.engine.embedded.backbones.layer_masks", masks)


def with_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_without_noise", lambda model: None)


@pytest.mark.parametrize(
    ("model_type", "settings", "broken", "told"),
    [
        ("gemma2", {}, heads_alone, "sampler"),
        ("mistral", {}, no_windows, r"sampler [0-9.e-]+, PRM in slots"),
        ("qwen2", {}, no_windows, "sampler"),
        ("gpt2", {}, with_noise, "SFT loss"),
        ("mixtral", {"router_jitter_noise": 0.3}, with_noise, "SFT loss"),
    ],
)
def test_what_is_computed_otherwise_is_refused_with_numbers(
    model_type: str,
    settings: dict[str, Any],
    broken: Any,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = checkpoint(tmp_path, model_type, **settings)
    require_exact_model(folder, WORDING, "append")
    broken(monkeypatch)
    with pytest.raises(ArchitectureError, match=f"differs from transformers' own forward.*{told}.*at most 0.001"):
        require_exact_model(folder, WORDING, "append")


def test_a_tokenizer_of_more_tokens_than_the_model_reads(tmp_path: Path) -> None:
    known = len(byte_tokenizer())
    with pytest.raises(CheckpointError, match=f"its tokenizer has {known} tokens and its model reads {known - 1}"):
        require_exact_model(checkpoint(tmp_path, vocab_size=known - 1), WORDING, "append")


def test_a_context_that_holds_no_dialogue(tmp_path: Path) -> None:
    with pytest.raises(ArchitectureError, match="reads at most 64 tokens, a first dialogue has"):
        require_exact_model(checkpoint(tmp_path, max_position_embeddings=64), WORDING, "append")


@pytest.mark.parametrize(
    ("model_type", "settings", "told"),
    [
        ("gemma3_text", {"use_bidirectional_attention": True}, "lets tokens see those behind them"),
        ("qwen2", {"layer_types": ["chunked_attention"] * 2}, "layers of type chunked_attention; computed exactly are"),
    ],
)
def test_settings_of_a_known_type_that_are_not_computed(
    model_type: str, settings: dict[str, Any], told: str, tmp_path: Path
) -> None:
    folder = checkpoint(tmp_path, model_type)
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | settings))
    with pytest.raises(ArchitectureError, match=told):
        checkpoints.load_policy(folder)


LONGROPE = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [4.0] * 8, "rope_theta": 1e4}
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 512}


@pytest.mark.parametrize(
    ("config", "context", "longest"),
    [
        (LlamaConfig(max_position_embeddings=2048), 2048, None),
        (LlamaConfig(max_position_embeddings=2048, rope_parameters=YARN), 2048, None),
        (LlamaConfig(max_position_embeddings=2048, rope_parameters=DYNAMIC), 2048, 2048),
        (
            Phi3Config(
                hidden_size=64,
                num_attention_heads=4,
                max_position_embeddings=2048,
                original_max_position_embeddings=512,
                rope_parameters=LONGROPE,
                pad_token_id=0,
            ),
            512,
            512,
        ),
    ],
)
def test_positions_that_change_with_the_length_bound_it(
    config: PreTrainedConfig, context: int, longest: int | None
) -> None:
    assert context_of(config) == context
    assert architectures._exact_length(config) == longest
    require_length(config, longest or 10**6)
    if longest:
        with pytest.raises(ArchitectureError, match=f"{longest + 1} tokens, .* is longer than the {longest}"):
            require_length(config, longest + 1)


def test_learnt_positions_end_with_the_context(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "gpt2", max_position_embeddings=300)
    model = checkpoints.load_policy(folder)
    assert context_of(model.config) == 300
    with pytest.raises(ArchitectureError, match=r"301 tokens, .* longer than the 300"):
        require_length(model.config, 301)
    with pytest.raises(ArchitectureError, match="learnt positions, which TRL's padding shifts"):
        architectures.require_relative_positions(model.config)


def test_a_model_that_fails_is_refused_in_our_words(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "qwen2", sliding_window=0)
    with pytest.raises(ArchitectureError, match=r"qwen2 cannot be computed here \(RuntimeError: .*use another model"):
        require_exact_model(folder, WORDING, "append")


def test_settings_that_an_architecture_does_not_read(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    content = json.loads((folder / "config.json").read_text())
    stray = {"sliding_window": 4096, "layer_types": ["sliding_attention"] * 2, "return_dict": False}
    (folder / "config.json").write_text(json.dumps(content | stray))
    assert checkpoints.load_policy(folder).config.sliding_window == 4096
    require_exact_model(folder, WORDING, "append")


def test_a_window_longer_than_the_trial_is_cut_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint(tmp_path, "mistral", **WINDOWED)
    shutil.copytree(folder, tmp_path / "same")
    no_windows(monkeypatch)
    with pytest.raises(ArchitectureError, match="sampler"):
        require_exact_model(folder, WORDING, "append")
    assert checkpoints.load_policy(tmp_path / "same").config.sliding_window == WINDOWED["sliding_window"]
