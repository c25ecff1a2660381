"""Where and how models are computed: files that are found by name or by path, and refused where they are wrong."""

from pathlib import Path

import pytest

from agentprm_dagster.config import Compute, TrainingCompute
from agentprm_dagster.config.catalog import ExperimentError, chosen_compute, load_compute, load_experiment
from agentprm_dagster.config.compose import compose


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_laptop_has_all_defaults_and_is_what_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTPRM_COMPUTE", raising=False)
    laptop = load_compute(chosen_compute())
    assert laptop == Compute(name="laptop", description=laptop.description)
    assert laptop.engine.kind == "embedded"
    monkeypatch.setenv("AGENTPRM_COMPUTE", "")
    assert chosen_compute() == "laptop"
    monkeypatch.setenv("AGENTPRM_COMPUTE", "gpu")
    assert chosen_compute() == "gpu"


def test_a_gpu_has_vllm_and_trains_in_pieces() -> None:
    gpu = load_compute("gpu")
    assert gpu.engine.kind == "vllm"
    assert gpu.training == TrainingCompute(device="cuda", micro_batch_tokens=16384, activation_checkpointing=True)


def test_eight_gpus_train_together() -> None:
    one, eight = load_compute("gpu"), load_compute("gpu8")
    assert eight.engine == one.engine.model_copy(update={"replicas": 8})
    spread = {"launch": "torchrun", "processes": 8, "strategy": "fsdp2"}
    assert eight.training == one.training.model_copy(update=spread)


def test_a_cluster_is_eight_gpus_wherever_they_are() -> None:
    eight, cluster = load_compute("gpu8"), load_compute("cluster")
    assert cluster.engine == eight.engine.model_copy(update={"launch": "ray"})
    assert cluster.training == eight.training.model_copy(update={"launch": "ray"})


def test_a_file_is_named_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "mine", "engine: {kind: transformers, batch: 4}\ntraining: {device: 'cuda:3'}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    mine = load_compute(str(path))
    assert (mine.name, mine.engine.kind, mine.training.device) == ("mine", "transformers", "cuda:3")
    for name in ("./mine.yaml", "mine.yaml", "~/mine.yaml"):
        assert load_compute(name) == mine
    with pytest.raises(ExperimentError, match=r"nowhere\.yaml cannot be read"):
        load_compute("./nowhere.yaml")


def test_users_have_their_own_beside_their_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(tmp_path))
    write(tmp_path / "compute", "lab", "engine: {batch: 4, kind: transformers}\n")
    assert load_compute("lab").engine.kind == "transformers"
    with pytest.raises(ExperimentError, match="no compute 'nosuch'; there are: lab, cluster, gpu, gpu8, laptop, or"):
        load_compute("nosuch")
    write(tmp_path / "compute", "gpu", "")
    with pytest.raises(ExperimentError, match="two computes are called gpu"):
        load_compute("gpu")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("engin: {}", r"engin: no such setting; did you mean engine\? \(mine\.yaml, line 1\)"),
        ("engine: {kind: vlm}", r"engine\.kind: expected one of embedded, transformers, vllm, got 'vlm'"),
        (
            "engine:\n  kind: vllm\n  replica: 2",
            r"engine\.replica: no such setting; did you mean replicas\? \(mine\.yaml, line 3\)",
        ),
        ("engine: {batch: 4}", r"engine\.batch: no such setting; there are: kind"),
        ("training: {device: tpu}", r"training\.device: .*got 'tpu' \(mine\.yaml, line 1\)"),
        ("training: {micro_batch_tokens: 0}", r"training\.micro_batch_tokens: .*got 0"),
        ("training: {activation_checkpointing: on}", r"training\.activation_checkpointing: .*write true or false"),
        ("training: {processes: 2}", r"training: processes: 2 train together only where launch: torchrun .*line 1"),
        ("training: {strategy: fsdp2}", r"training: strategy: fsdp2 spreads .* launch: torchrun or ray starts"),
        ("training: {launch: torchrun, device: 'cuda:1'}", r"training: device: cuda:1 is one GPU"),
        ("training: {launch: mpirun}", r"training\.launch: .*got 'mpirun'"),
        ("training: {nosuch: 1}", r"training\.nosuch: no such setting; there are: device, micro_batch_tokens"),
        ("targets: {}", r"targets: no such setting; there are: name, description, engine, playing, training"),
        ("sft: {epochs: 1}", r"sft: no such setting; there are: name, description, engine, playing, training"),
        ("name: other", r"name: it is named after its file, mine: leave it out"),
        ("[1]", "expected a mapping of settings, got list"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ExperimentError, match=words):
        load_compute(str(write(tmp_path, "mine", text)))


def test_an_experiment_says_nothing_of_it_and_is_told_where_it_went(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(tmp_path))
    write(tmp_path, "old", "extends: smoke\nengine: {kind: transformers, batch: 4}\n")
    went = (
        r"engine: where and how models are computed is no part of an experiment: .*--compute NAME or AGENTPRM_COMPUTE"
    )
    with pytest.raises(ExperimentError, match=rf"{went}.*\(old\.yaml, line 2\)"):
        load_experiment("old")
    with pytest.raises(ExperimentError, match=went):
        compose("smoke", settings=["engine.kind=vllm"])
