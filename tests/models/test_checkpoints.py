"""Checkpoints: ordinary ones, refused where they are something else."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from agentprm_dagster.models import checkpoints
from agentprm_dagster.models.attention import use_grouped_attention
from agentprm_dagster.models.checkpoints import CheckpointError

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
    for loaded in (checkpoints.load_prm(tmp_path), AutoModelForSequenceClassification.from_pretrained(tmp_path)):
        assert loaded.config.num_labels == 1
        assert torch.equal(loaded.score.weight, prm.score.weight)
        assert torch.equal(loaded(IDS).logits, prm(IDS).logits)


def test_a_prm_starts_as_its_policy_with_a_small_head(policy_folder: Path) -> None:
    policy, prm = checkpoints.load_policy(policy_folder), checkpoints.prm_from_policy(policy_folder, seed=3)
    ours, theirs = policy.base_model.state_dict(), prm.base_model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert float(prm.score.weight.detach().std()) == pytest.approx(33**-0.5, rel=0.3)
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
