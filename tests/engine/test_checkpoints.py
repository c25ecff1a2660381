"""Checkpoints: ordinary ones, refused where they are something else."""

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.architectures import ArchitectureError
from agentprm_dagster.engine.checkpoint_files import CheckpointError
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from pretrained import byte_tokenizer, checkpoint, random_model

WEIGHTS = "model.safetensors"
IDS = torch.tensor([[7, 8, 9, 10]])


def saved_prm(policy_folder: Path, folder: Path) -> torch.nn.Module:
    prm = checkpoints.prm_from_policy(policy_folder, seed=3)
    checkpoints.save(prm, checkpoints.load_tokenizer(policy_folder), folder)
    return prm


@torch.no_grad()
def test_others_load_what_was_saved_with_our_attention(policy_folder: Path, tmp_path: Path) -> None:
    policy = checkpoints.load_policy(policy_folder)
    use_grouped_attention(policy)
    logits = policy(IDS).logits
    checkpoints.save(policy, checkpoints.load_tokenizer(policy_folder), tmp_path)
    other = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert other.config._attn_implementation == "sdpa"
    torch.testing.assert_close(other(IDS).logits, logits, atol=1e-5, rtol=1e-5)
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template
    assert not list(tmp_path.glob("*.bin"))


@torch.no_grad()
def test_a_prm_keeps_its_head(policy_folder: Path, tmp_path: Path) -> None:
    prm = saved_prm(policy_folder, tmp_path)
    with safe_open(tmp_path / WEIGHTS, "pt") as file:
        assert "score.weight" in file.keys()  # noqa: SIM118 (not a mapping)
    loaded: Any
    for loaded in (checkpoints.load_prm(tmp_path), AutoModelForSequenceClassification.from_pretrained(tmp_path)):
        assert loaded.config.num_labels == 1
        assert torch.equal(loaded.score.weight, prm.get_parameter("score.weight"))
        assert torch.equal(loaded(IDS).logits, prm(IDS).logits)


def test_a_prm_starts_as_its_policy_with_a_small_head(policy_folder: Path) -> None:
    policy, prm = checkpoints.load_policy(policy_folder), checkpoints.prm_from_policy(policy_folder, seed=3)
    ours, theirs = policy.base_model.state_dict(), prm.base_model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert float(prm.score.weight.detach().std()) == pytest.approx(0.1 * 33**-0.5, rel=0.3)
    heads = [checkpoints.prm_from_policy(policy_folder, seed=seed).score.weight for seed in (3, 4)]
    assert torch.equal(heads[0], prm.score.weight)
    assert not torch.equal(heads[1], prm.score.weight)


def test_a_policy_is_not_a_prm(policy_folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is not a process reward model: it lacks \['score.weight'\]; expected"):
        checkpoints.load_prm(policy_folder)


def test_a_policy_that_lacks_weights_is_refused(policy_folder: Path, tmp_path: Path) -> None:
    checkpoints.save(checkpoints.load_policy(policy_folder), checkpoints.load_tokenizer(policy_folder), tmp_path)
    weights = load_file(tmp_path / WEIGHTS)
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / WEIGHTS, metadata={"format": "pt"})
    for load in (checkpoints.load_policy, lambda path: checkpoints.prm_from_policy(path, seed=0)):
        with pytest.raises(CheckpointError, match=r"is not a policy: it lacks \['model.norm.weight'\]"):
            load(tmp_path)


@pytest.mark.parametrize("load", [checkpoints.load_policy, checkpoints.load_prm, checkpoints.load_tokenizer])
def test_no_checkpoint_at_all(load: object, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no \*\.safetensors: expected a Hugging Face checkpoint folder"):
        load(tmp_path)  # type: ignore[operator]


def test_nothing_is_said_about_what_is_expected(
    policy_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    saved_prm(policy_folder, tmp_path)
    checkpoints.load_policy(policy_folder)
    assert capfd.readouterr() == ("", "")


def edited(folder: Path, file: str, **values: object) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


CLASS = """
import pathlib
pathlib.Path({mark!r}).touch()
from transformers import {name} as Theirs
class Evil(Theirs): pass
"""


def asks_for_code(folder: Path) -> None:
    (folder / "evil.py").write_text(CLASS.format(mark=str(folder / "ran"), name="LlamaConfig"))
    edited(folder, "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Evil"})


def asks_for_another_tokenizer(folder: Path) -> None:
    (folder / "evil.py").write_text(CLASS.format(mark=str(folder / "ran"), name="PreTrainedTokenizerFast"))
    edited(folder, "tokenizer_config.json", tokenizer_class="Evil", auto_map={"AutoTokenizer": ["evil.Evil"] * 2})


class Touch:
    """Unpickled, it leaves a mark, as an attack would; that no mark is left shows that nothing was unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


def pickled_alone(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "other.safetensors")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Touch(folder / "ran")))


def indexed(folder: Path, name: str, place: str) -> None:
    with safe_open(folder / WEIGHTS, "pt") as file:
        names = list(file.keys())
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / WEIGHTS).rename(folder / place)
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def index_names_pickles(folder: Path) -> None:
    indexed(folder, "w.bin", "other.safetensors")
    (folder / "w.bin").write_bytes(pickle.dumps(Touch(folder / "ran")))


def index_names_the_outside(folder: Path) -> None:
    indexed(folder, "../outside.safetensors", "../outside.safetensors")


def index_names_an_absolute_path(folder: Path) -> None:
    place = str(folder.parent / "outside.safetensors")
    indexed(folder, place, place)


def index_names_nothing(folder: Path) -> None:
    indexed(folder, "gone.safetensors", "other.safetensors")


def index_is_no_index(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "other.safetensors")
    (folder / "model.safetensors.index.json").write_text("[]")


def is_an_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(folder)}))
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Touch(folder / "ran")))


def is_cut(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def says_its_header_is_huge(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((2**40).to_bytes(8, "little") + b"{}")


def is_empty(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"")


def has_other_sizes(folder: Path) -> None:
    edited(folder, "config.json", hidden_size=128, head_dim=32)


def has_no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


PLANTED = [
    (asks_for_code, ArchitectureError, "type 'evil', .*code that comes with a checkpoint is never run"),
    (
        pickled_alone,
        CheckpointError,
        r"holds no \*.safetensors: expected .* model.safetensors or model",
    ),
    (index_names_pickles, CheckpointError, "names 'w.bin': expected weights in .*safetensors within the folder"),
    (index_names_the_outside, CheckpointError, r"names '\.\./outside.safetensors': expected weights"),
    (index_names_an_absolute_path, CheckpointError, r"names '/.*outside.safetensors': expected weights"),
    (index_names_nothing, CheckpointError, r"names 'gone.safetensors': expected weights"),
    (index_is_no_index, CheckpointError, "expected a JSON object, got list"),
    (is_an_adapter, CheckpointError, "holds an adapter .* merge it into its base model"),
    (is_cut, CheckpointError, "expected a whole safetensors file .* it may have been cut"),
    (says_its_header_is_huge, CheckpointError, "expected a whole safetensors file .*header too large"),
    (is_empty, CheckpointError, "expected a whole safetensors file"),
    (has_other_sizes, CheckpointError, "cannot be loaded with transformers' own code, and no other is run"),
    (has_no_json, CheckpointError, "config.json: expected a JSON file of a Hugging Face checkpoint"),
]


@pytest.mark.parametrize(("plant", "kind", "told"), PLANTED)
def test_a_planted_folder_is_refused_and_runs_nothing(
    plant: Callable[[Path], None], kind: type[ValueError], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\ny\ny\n"))
    folder = checkpoint(tmp_path)
    plant(folder)
    loads = (checkpoints.load_policy, checkpoints.load_prm, lambda path: checkpoints.prm_from_policy(path, seed=0))
    for load in loads:
        with pytest.raises(kind, match=told):
            load(folder)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
        {"transformers_weights": "other.safetensors"},
        {"attn_implementation": "someone/kernel"},
        {"experts_implementation": "someone/kernel"},
    ],
)
def test_a_configuration_that_asks_for_more_than_the_weights(settings: dict[str, object], tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    edited(folder, "config.json", **settings)
    with pytest.raises(CheckpointError, match=r"quantised weights|config.json asks for .*: expected none"):
        checkpoints.load_policy(folder)


def test_a_tokenizer_of_other_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\ny\ny\n"))
    folder = checkpoint(tmp_path)
    asks_for_another_tokenizer(folder)
    with pytest.raises(CheckpointError, match="cannot be loaded with transformers' own code, and no other is run"):
        checkpoints.load_tokenizer(folder)
    assert not (folder / "ran").exists()


def test_code_that_is_not_needed_is_not_run(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    (folder / "evil.py").write_text(CLASS.format(mark=str(folder / "ran"), name="LlamaForCausalLM"))
    edited(folder, "config.json", auto_map={"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"})
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text((folder / "evil.py").read_text())
    assert type(checkpoints.load_policy(folder)).__module__.startswith("transformers.")
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("key", ["tokenizer_file", "vocab_file", "fast_tokenizer_files"])
def test_a_tokenizer_is_read_from_its_folder_alone(key: str, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    outside = (folder / "tokenizer.json").rename(tmp_path / "tokenizer.1.json")
    named = ["../tokenizer.1.json"] if key.endswith("s") else str(outside)
    edited(folder, "tokenizer_config.json", **{key: named, "special_tokens_map_file": "/somewhere/it/was/saved"})
    with pytest.raises(CheckpointError, match=rf"names the {key} .*: expected a file in .*llama; remove the key"):
        checkpoints.load_tokenizer(folder)


def test_weights_in_a_folder_below(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    ids = torch.tensor([[7, 8, 9]])
    expected = checkpoints.load_policy(folder)(ids).logits
    indexed(folder, "sub/w.safetensors", "sub/w.safetensors")
    assert torch.equal(checkpoints.load_policy(folder)(ids).logits, expected)


def test_a_prm_is_not_a_policy(tmp_path: Path) -> None:
    prm = checkpoints.prm_from_policy(checkpoint(tmp_path, tie_word_embeddings=True), seed=0)
    checkpoints.save(prm, byte_tokenizer(), tmp_path / "prm")
    with pytest.raises(CheckpointError, match=r"is not a policy but a process reward model: it has a score.weight"):
        checkpoints.load_policy(tmp_path / "prm")


@pytest.mark.parametrize(
    ("model_type", "settings"),
    [
        ("gpt2", {"embd_pdrop": 0.5, "resid_pdrop": 0.5, "attn_pdrop": 0.5}),
        ("phi", {"embd_pdrop": 0.5, "resid_pdrop": 0.5, "attention_dropout": 0.5}),
        ("gpt_neox", {"hidden_dropout": 0.5, "attention_dropout": 0.5}),
        ("mixtral", {"router_jitter_noise": 0.5, "attention_dropout": 0.5}),
    ],
)
@torch.no_grad()
def test_training_reads_what_acting_reads(model_type: str, settings: dict[str, float], tmp_path: Path) -> None:
    folder, ids = checkpoint(tmp_path, model_type, **settings), torch.tensor([[7, 8, 9, 10]])
    noisy, model = random_model(model_type, **settings).train(), checkpoints.load_policy(folder)
    acting = model.eval()(ids).logits
    assert torch.equal(model.train()(ids).logits, acting)
    assert not torch.equal(noisy(ids).logits, acting)
    checkpoints.save(model, byte_tokenizer(), tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert saved | settings == saved, "others read it with the noise that it was made with"
