"""LoRA: every training makes an adapter of the same pretrained model, as peft reads it."""

import json
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from agentprm_dagster.config import Model
from agentprm_dagster.engine import adapters, checkpoints
from agentprm_dagster.engine.adapters import Base, base_of
from agentprm_dagster.engine.base import Role
from agentprm_dagster.engine.base_model import base_identity
from agentprm_dagster.engine.checkpoint_files import ADAPTER_WEIGHTS, CheckpointError, is_adapter
from agentprm_dagster.engine.kinds import engine_kind
from agentprm_dagster.engine.settings import Lora
from agentprm_dagster.engine.vllm.kind import Settings
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode
from all_trainings import ROLES, train_all
from vllm_stub import served_by, stub

IDS = torch.arange(3, 40)[None]


@pytest.fixture(scope="module")
def trained(
    taught_folder: Path,
    demonstrations: list[Episode],
    rollouts: list[Episode],
    household_games: list[PlayableGame],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    model = Model(name=str(taught_folder), lora=Lora(rank=4))
    return train_all(model, demonstrations[:6], rollouts, household_games, tmp_path_factory.mktemp("lora"))


def loaded(folder: Path, role: Role) -> PreTrainedModel:
    return (checkpoints.load_policy if role == "policy" else checkpoints.load_prm)(folder).eval()


@torch.no_grad()
def read(model: Any) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=IDS).logits
    return logits


@pytest.mark.parametrize("name", ROLES)
def test_it_is_what_peft_reads(trained: dict[str, Path], taught_folder: Path, name: str) -> None:
    """Merged here, beside the weights there."""
    kind = AutoModelForCausalLM if ROLES[name] == "policy" else AutoModelForSequenceClassification
    more = {} if ROLES[name] == "policy" else {"num_labels": 1}
    torch.manual_seed(9)
    stock = PeftModel.from_pretrained(kind.from_pretrained(taught_folder, **more), trained[name]).eval()
    mine = loaded(trained[name], ROLES[name])
    assert not adapters.has_adapter(mine)
    torch.testing.assert_close(read(mine), read(stock), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ROLES)
def test_it_is_small_and_names_its_base(trained: dict[str, Path], taught_folder: Path, name: str) -> None:
    folder, model = trained[name], Model(name=str(taught_folder))
    assert is_adapter(folder)
    assert not (folder / "model.safetensors").exists()
    assert base_of(folder).digest == base_identity(model)["base_model"]
    moved = [key for key, weight in load_file(folder / ADAPTER_WEIGHTS).items() if "lora_B" in key and weight.any()]
    assert len(moved) == 14, "seven linear maps in each of two layers were trained"


def test_each_goes_on_from_the_one_before(trained: dict[str, Path]) -> None:
    weights = {name: load_file(folder / ADAPTER_WEIGHTS) for name, folder in trained.items()}
    one = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    near = {name: float((each[one] - weights["pi_0"][one]).norm()) for name, each in weights.items()}
    assert 0 < near["pi_1"] < 0.1
    assert near["prm"] < near["base_prm"] / 3, "the PRM begins at the policy, unless it begins at the pretrained model"
    assert near["pi_0"] == 0


def test_the_reference_shares_what_is_not_trained(trained: dict[str, Path]) -> None:
    model = checkpoints.policy_to_train(trained["pi_0"]).eval()
    reference, before = adapters.frozen_copy(model), read(model)
    shared = [
        (p.requires_grad, p.data_ptr() == q.data_ptr())
        for p, q in zip(model.parameters(), reference.parameters(), strict=True)
    ]
    assert all(trains != same for trains, same in shared)
    assert {trains for trains, _ in shared} == {True, False}
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    torch.testing.assert_close(read(reference), before, atol=0, rtol=0)
    assert not torch.allclose(read(model), before)


@pytest.mark.parametrize(("name", "load"), [("pi_0", checkpoints.load_prm), ("prm", checkpoints.load_policy)])
def test_an_adapter_of_another_role_is_refused(trained: dict[str, Path], name: str, load: Any) -> None:
    with pytest.raises(CheckpointError, match="is not the adapter of a"):
        load(trained[name])


def test_another_base_is_refused(trained: dict[str, Path], taught_folder: Path, tmp_path: Path) -> None:
    copied, other = tmp_path / "adapter", tmp_path / "base"
    copytree(trained["pi_0"], copied)
    copytree(taught_folder, other)
    said = json.loads((copied / "base.json").read_text())
    said["model"]["name"] = str(other)
    (copied / "base.json").write_text(json.dumps(said))
    checkpoints.load_policy(copied)
    (other / "config.json").write_text((taught_folder / "config.json").read_text() + " ")
    with pytest.raises(CheckpointError, match=r"trained upon .* with the digest"):
        checkpoints.load_policy(copied)


def test_an_adapter_from_elsewhere_is_refused(trained: dict[str, Path], tmp_path: Path) -> None:
    copied = tmp_path / "adapter"
    copytree(trained["pi_0"], copied)
    (copied / "base.json").unlink()
    with pytest.raises(CheckpointError, match="merge it into its base model"):
        checkpoints.load_policy(copied)


def test_a_new_adapter_changes_nothing_and_depends_on_its_seed(taught_folder: Path) -> None:
    made = []
    for seed in (1, 1, 2):
        model, plain = checkpoints.load_policy(taught_folder), checkpoints.load_policy(taught_folder)
        adapters.add(model, Lora(rank=2), Base(model=Model(name=str(taught_folder)), digest=""), seed=seed)
        torch.testing.assert_close(read(model), read(plain), atol=0, rtol=0)
        made.append(torch.cat([each.detach().flatten() for each in model.parameters() if each.requires_grad]))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_a_model_from_scratch_has_none() -> None:
    with pytest.raises(ValidationError, match="lora trains adapters beside a pretrained model"):
        Model(lora=Lora())


@pytest.mark.parametrize("name", ["pi_1", "prm"])
def test_a_server_is_given_what_the_adapter_makes_of_its_base(trained: dict[str, Path], name: str) -> None:
    """vLLM's classifiers know no adapter with a head of its own."""
    role, kind, answer = ROLES[name], engine_kind("vllm"), torch.tensor([[5, 6]])
    logits = loaded(trained[name], role)(input_ids=torch.cat([IDS, answer], 1)).logits.detach()
    with stub(trained[name], role) as server:
        settings = Settings(**served_by(server))
        model = kind.load(trained[name], role, settings)
        engine = kind.open(model, settings, conversations=1)
        engine.begin(0, IDS[0].tolist())
        if role == "prm":
            assert float(engine.score([0], [answer.tolist()])) == pytest.approx(float(logits), abs=1e-5)
        else:
            log_p = logits[0, -3:-1].log_softmax(-1).gather(-1, answer.T).sum()
            assert float(engine.log_probs([0], [answer.tolist()])) == pytest.approx(float(log_p), abs=1e-4)
        model.close()
