"""Cards are what the Hugging Face hub and `datasets` read, and say where each number comes from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard

from agentprm_dagster.bundles.cards import cards
from agentprm_dagster.bundles.opened import Opened, open_bundle
from agentprm_dagster.bundles.words import base_model, licence
from agentprm_dagster.config import Model
from agentprm_dagster.engine.settings import Lora
from agentprm_dagster.episodes.tables import read_episodes
from forging import record_of

DATA = ("rollouts", "targets", "evaluation")


@pytest.fixture
def read(made: Path) -> Opened:
    return open_bundle(made / "bundle", record_of(made / "bundle"))


def test_model_cards_are_read_by_the_hubs_own_reader(made: Path, read: Opened) -> None:
    policy, reward = (ModelCard.load(made / "bundle" / part / "README.md") for part in ("policy", "reward_model"))
    assert (policy.data.license, policy.data.library_name) == ("mit", "transformers")
    assert {"agentprm", "alfworld"} <= set(policy.data.tags or ())
    assert "process-reward-model" in (reward.data.tags or ())
    results = policy.data.eval_results or []
    assert [(each.dataset_split, each.metric_value) for each in results] == [
        (row["split"], row["success_rate"]) for row in read.rows if row["policy"] == "pi_1"
    ]


def test_a_number_stands_with_all_that_it_needs(made: Path, read: Opened) -> None:
    text = (made / "bundle/policy/README.md").read_text(encoding="utf-8")
    (row,) = (
        each
        for each in read.rows
        if each["split"] == "valid_seen" and each["policy"] == "pi_1" and not each["ranked_by"]
    )
    rate, low, high = (f"{row[key]:.1%}" for key in ("success_rate", "ci_low", "ci_high"))
    assert f"| valid_seen | pi_1 | 12 | {rate} | {low} to {high} |" in text
    assert "at most 30 actions" in text
    assert "Seed 0; processor" in text
    assert read.manifest("policy").digest in text


@pytest.mark.parametrize("part", DATA)
def test_data_cards_are_read_by_the_hubs_own_reader(made: Path, part: str) -> None:
    card = DatasetCard.load(made / "bundle" / part / "README.md")
    assert card.data.license == "mit"
    configs: list[dict[str, Any]] = card.data.configs
    assert sum(config.get("default", False) for config in configs) == 1
    for config in configs:
        for files in config["data_files"]:
            assert (made / "bundle" / part / files["path"]).is_file()


def test_datasets_reads_every_table(made: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    folder = made / "bundle"
    episodes = read_episodes(folder / "rollouts")
    rows = load_dataset(str(folder / "rollouts"), cache_dir=str(tmp_path))["train"]
    assert rows["episode_id"] == [episode.episode_id for episode in episodes]
    turns = load_dataset(str(folder / "rollouts"), "turns", split="train", cache_dir=str(tmp_path))
    assert turns["action"][: len(episodes[0].turns)] == [turn.action for turn in episodes[0].turns]
    targets = load_dataset(str(folder / "targets"), split="train", cache_dir=str(tmp_path))
    assert set(targets["held_out"]) <= {True, False}
    assert max(targets["q"]) <= 1
    name = "valid_seen-pi_1-best_of_1.episodes"
    played = load_dataset(str(folder / "evaluation"), name, split="test", cache_dir=str(tmp_path))
    assert len(played) == 12


def test_cards_link_to_each_other_where_they_are_to_be_on_the_hub(read: Opened) -> None:
    written = cards(replace(read, record=replace(read.record, hub="org")))
    assert yaml.safe_load(written["policy/README.md"].split("---")[1])["datasets"] == ["org/toy-1-rollouts"]
    assert "https://huggingface.co/org/toy-1-reward-model" in written["policy/README.md"]
    assert "https://huggingface.co/datasets/org/toy-1-targets" in written["reward_model/README.md"]
    assert "hf upload org/toy-1-policy policy" in written["README.md"]
    assert "huggingface.co/org" not in "".join(cards(read).values())


def test_an_inverse_prm_has_learnt_no_targets(read: Opened) -> None:
    version = read.record.contents["reward_model"]
    inverse = replace(read.manifests[version], asset="inverse_prm")
    written = cards(replace(read, manifests={**read.manifests, version: inverse}))
    assert "no outcome is read" in written["reward_model/README.md"]
    assert "The reward model was measured with them." in written["targets/README.md"]
    assert "It was trained on targets (Eq. 1) of rollouts by pi_0" in cards(read)["reward_model/README.md"]


def test_adapters_are_loaded_by_peft(read: Opened) -> None:
    model = Model(name="smollm2", lora=Lora())
    written = cards(replace(read, experiment=read.experiment.model_copy(update={"model": model})))
    for part, name in (
        ("policy", "AutoPeftModelForCausalLM"),
        ("reward_model", "AutoPeftModelForSequenceClassification"),
    ):
        head = yaml.safe_load(written[f"{part}/README.md"].split("---")[1])
        assert (head["library_name"], head["base_model"]) == ("peft", "HuggingFaceTB/SmolLM2-135M-Instruct")
        assert f"{name}.from_pretrained" in written[f"{part}/README.md"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("embedded", {"license": "mit"}),
        ("smollm2", {"license": "apache-2.0", "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct"}),
        (
            "meta-llama/Llama-3.2-3B-Instruct",
            {
                "license": "other",
                "license_name": "of-the-base-model",
                "license_link": "https://huggingface.co/meta-llama/Llama-3.2-3B-Instruct",
                "base_model": "meta-llama/Llama-3.2-3B-Instruct",
            },
        ),
        ("/models/mine", {"license": "other", "license_name": "of-the-base-model"}),
    ],
)
def test_licence_and_base_model(name: str, expected: dict[str, str]) -> None:
    assert {**licence(Model(name=name)), **base_model(Model(name=name))} == expected
