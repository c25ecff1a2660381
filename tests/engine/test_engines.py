"""Every kind of engine says of the same conversations what transformers' plain forward says of their whole text."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from shutil import copytree

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, MambaConfig, MambaForCausalLM, PreTrainedModel

import parrot
from agentprm_dagster.config import Rollouts
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.architectures import ArchitectureError
from agentprm_dagster.engine.base import ContextOverflow, Engine, Limits, Role, WrongRoleError
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.checkpoint_files import CheckpointError, dtype_of
from agentprm_dagster.engine.kinds import KINDS, engine_kind
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.launch.play import Choice
from agentprm_dagster.launch.worker import play_games, ready
from plays import play_of
from vllm_stub import served_by, stub

END = 5
TALK = [[7, 8, 9, 10], [11, 12], [7, 8, 13, 14, 15, 16]]
"""Three conversations, of which two begin alike."""
FOLLOW_UP = [20, 21]


Open = Callable[[str, Path, Role], Engine]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens a checkpoint with a kind of engine; vLLM's server is a stub, which answers what transformers computes."""
    with ExitStack() as stack:

        def opened(kind: str, folder: Path, role: Role) -> Engine:
            module = engine_kind(kind)
            how = module.Settings(**served_by(stack.enter_context(stub(folder, role))) if kind == "vllm" else {})
            model = module.load(folder, role, how)
            if kind == "vllm":
                stack.callback(model.close)
            return module.open(model, how, conversations=3)

        yield opened


@torch.no_grad()
def log_p(model: PreTrainedModel, before: Sequence[int], ids: Sequence[int]) -> float:
    logits = model(torch.tensor([[*before, *ids]])).logits[0, len(before) - 1 : -1]
    return float(logits.log_softmax(-1)[torch.arange(len(ids)), list(ids)].sum())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("temperature", "new"), [(0.0, 6), (1.0, 6), (1.0, 1)])
def test_answers_and_their_log_probabilities(
    opened: Open, kind: str, policy_folder: Path, temperature: float, new: int
) -> None:
    engine, stock = opened(kind, policy_folder, "policy"), checkpoints.load_policy(policy_folder).eval()
    limits = Limits(END, new, banned=(0, 1))
    told = [list(ids) for ids in TALK]
    for i, ids in enumerate(told):
        engine.begin(i, ids)
    for turn in range(3):
        sampled = engine.sample(range(3), 4, limits, temperature=temperature, seeds=[turn, 7, 8])
        for i, (answers, finished) in enumerate(zip(sampled.tokens, sampled.finished, strict=True)):
            for c, (ids, ended) in enumerate(zip(answers, finished, strict=True)):
                assert ended or len(ids) == new
                assert not {0, 1, END} & {*ids}
                said = log_p(stock, told[i], [*ids, *([END] if ended else [])])
                assert float(sampled.log_probabilities[i, c]) == pytest.approx(said, abs=1e-4)
                assert temperature or ids == answers[0]
        choice = [turn, 3, 0]
        kept = [sampled.tokens[i][c] for i, c in enumerate(choice)]
        engine.keep(range(3), choice, list(map(len, kept)))
        for i, ids in enumerate(kept):
            engine.extend(i, [END, *FOLLOW_UP])
            told[i] += [*ids, END, *FOLLOW_UP]


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_log_ratios_of_given_answers(opened: Open, kind: str, policy_folder: Path, prm_folder: Path) -> None:
    stock, stock_prm = checkpoints.load_policy(policy_folder).eval(), checkpoints.load_prm(prm_folder).eval()
    judge, reference = opened(kind, prm_folder, "prm"), opened(kind, policy_folder, "policy")
    told = [list(ids) for ids in TALK]
    for engine in (judge, reference):
        for i, ids in enumerate(told):
            engine.begin(i, ids)
    continuations = [[[30 + i, 31, END, 32], [33, END]] for i in range(3)]
    for _ in range(3):
        scores, sums = judge.score(range(3), continuations), reference.log_probs(range(3), continuations)
        assert scores.shape == sums.shape == (3, 2)
        with torch.no_grad():
            for i, each in enumerate(continuations):
                whole = [stock_prm(torch.tensor([[*told[i], *ids]])).logits.item() for ids in each]
                assert scores[i].tolist() == pytest.approx(whole, abs=1e-4)
                assert sums[i].tolist() == pytest.approx([log_p(stock, told[i], ids) for ids in each], abs=1e-4)
        for engine in (judge, reference):
            engine.keep(range(3), [0, 1, 0], [3, 2, 0])
            engine.extend(2, FOLLOW_UP)
        told[0] += continuations[0][0][:3]
        told[1] += continuations[1][1]
        told[2] += FOLLOW_UP


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_asked_what_its_role_can_answer(
    opened: Open, kind: str, policy_folder: Path, prm_folder: Path
) -> None:
    policy, prm = opened(kind, policy_folder, "policy"), opened(kind, prm_folder, "prm")
    for engine in (policy, prm):
        engine.begin(0, TALK[0])
    with pytest.raises(WrongRoleError, match="expected a process reward model, got a policy: LlamaForCausalLM"):
        policy.score([0], [[[END]]])
    limits = Limits(END, 2)
    with pytest.raises(WrongRoleError, match="expected a policy, got a process reward model"):
        prm.sample([0], 1, limits, temperature=1.0, seeds=[0])
    with pytest.raises(WrongRoleError, match="expected a policy"):
        prm.log_probs([0], [[[END]]])


@pytest.mark.parametrize("kind", KINDS)
def test_a_context_that_is_outgrown_is_told(opened: Open, kind: str, policy_folder: Path, tmp_path: Path) -> None:
    copytree(policy_folder, tmp_path / "small")
    config = json.loads((policy_folder / "config.json").read_text())
    (tmp_path / "small/config.json").write_text(json.dumps({**config, "max_position_embeddings": 12}))
    engine = opened(kind, tmp_path / "small", "policy")
    engine.begin(0, list(range(10, 18)))
    assert engine.log_probs([0], [[[3, 4]]]).shape == (1, 1)
    with pytest.raises(ContextOverflow, match=r"needs 1[345] tokens, the model holds 12"):
        engine.log_probs([0], [[[3] * 5, [3] * 6]])


def test_transformers_computes_what_the_embedded_engine_refuses(
    opened: Open, tmp_path: Path, policy_folder: Path
) -> None:
    """A state-space model has no attention, and reads padding: conversations of other lengths change nothing."""
    torch.manual_seed(0)
    config = MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=4)
    MambaForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(ArchitectureError, match="mamba"):
        opened("embedded", tmp_path, "policy")
    engine, stock = opened("transformers", tmp_path, "policy"), AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    for i, ids in enumerate(TALK):
        engine.begin(i, ids)
    sampled = engine.sample(range(3), 2, Limits(END, 5), temperature=1.0, seeds=[1, 2, 3])
    for i, told in enumerate(TALK):
        said = [ids + [END] * end for ids, end in zip(sampled.tokens[i], sampled.finished[i], strict=True)]
        whole = [log_p(stock, told, ids) for ids in said]
        assert sampled.log_probabilities[i].tolist() == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_draws_the_same_answers_in_any_company(opened: Open, kind: str, policy_folder: Path) -> None:
    """Every kind draws the same, too: by the same numbers."""
    limits, alone = Limits(END, 8), []
    for i, ids in enumerate(TALK):
        engine = opened(kind, policy_folder, "policy")
        engine.begin(0, ids)
        alone += engine.sample([0], 3, limits, temperature=1.5, seeds=[i]).tokens
    together = opened(kind, policy_folder, "policy")
    for i, ids in enumerate(TALK):
        together.begin(i, ids)
    assert together.sample([2, 0, 1], 3, limits, temperature=1.5, seeds=[2, 0, 1]).tokens == [
        alone[i] for i in (2, 0, 1)
    ]
    first = opened(next(iter(KINDS)), policy_folder, "policy")
    first.begin(0, TALK[0])
    assert first.sample([0], 3, limits, temperature=1.5, seeds=[0]).tokens == alone[:1]


def test_a_checkpoints_own_way_of_sampling_is_left_out(opened: Open, policy_folder: Path, tmp_path: Path) -> None:
    """A policy is the softmax of its logits; a file beside the weights may ask for penalties and cuts."""
    checkpoints.save(checkpoints.load_policy(policy_folder), checkpoints.load_tokenizer(policy_folder), tmp_path)
    GenerationConfig(repetition_penalty=9.0, top_k=1, do_sample=True).save_pretrained(tmp_path)
    drawn = []
    for folder in (policy_folder, tmp_path):
        engine = opened("transformers", folder, "policy")
        engine.begin(0, TALK[0])
        drawn.append(engine.sample([0], 8, Limits(END, 8), temperature=1.0, seeds=[2]).tokens)
    assert drawn[0] == drawn[1]
    assert len({tuple(ids) for ids in drawn[0][0]}) > 1


@pytest.mark.parametrize(
    ("said", "dtype"),
    [({}, torch.float32), ({"dtype": "bfloat16"}, torch.bfloat16), ({"torch_dtype": "float16"}, torch.float16)],
)
def test_models_are_computed_in_the_type_that_they_were_saved_in(
    policy_folder: Path, tmp_path: Path, said: dict[str, str], dtype: torch.dtype
) -> None:
    copytree(policy_folder, tmp_path / "saved")
    config = json.loads((policy_folder / "config.json").read_text())
    del config["dtype"]
    (tmp_path / "saved/config.json").write_text(json.dumps({**config, **said}))
    module = engine_kind("transformers")
    model = module.load(tmp_path / "saved", "policy", module.Settings(device="cpu"))
    assert {weight.dtype for weight in model.parameters()} == {dtype}


def test_a_type_of_numbers_that_is_not_computed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"dtype": "float8_e4m3fn"}')
    with pytest.raises(CheckpointError, match="expected a dtype of float32, bfloat16, float16, got 'float8_e4m3fn'"):
        dtype_of(tmp_path)


def test_games_are_played_alike_on_both(taught_folder: Path, household_games: list[PlayableGame]) -> None:
    """Greedy, with branches whose actions are drawn at next to no temperature."""

    def played(kind: str) -> list[Episode]:
        how = Rollouts(per_game=1, temperature=0.0, max_steps=6, branch_states=0, slots=3, max_new_tokens=24)
        play = play_of(taught_folder, how, household_games, engine=engine_kind(kind).Settings())
        return play_games(ready(play), play, SilentMonitor())

    assert played("transformers") == played("embedded")


ADDED = """
from agentprm_dagster.engine.kinds import KINDS
KINDS["parrot"] = "parrot"
from sys import argv
from agentprm_dagster.config.catalog import load_compute
engine = load_compute(argv[1]).engine
print(engine.kind, *engine.tokens)
"""
"""The line, and what reads a compute."""


def test_a_new_kind_is_a_file_and_a_line(tmp_path: Path) -> None:
    path = tmp_path / "tried.yaml"
    path.write_text("engine: {kind: parrot, tokens: [8, 9]}", encoding="utf-8")
    command = [sys.executable, "-c", ADDED, str(path)]
    read = subprocess.run(command, cwd=Path(parrot.__file__).parent, capture_output=True, text=True, check=False)
    assert read.stdout.split() == ["parrot", "8", "9"], read.stderr


@pytest.mark.parametrize("judge", [False, True])
def test_a_new_kind_plays_and_judges(
    taught_folder: Path, household_games: list[PlayableGame], monkeypatch: pytest.MonkeyPatch, judge: bool
) -> None:
    monkeypatch.setitem(KINDS, "parrot", "parrot")
    said = Chat(checkpoints.load_tokenizer(taught_folder), WORDING).answer("REASON: I look.\nACTION: look")[:-1]
    how = Rollouts(per_game=1, max_steps=3, branch_states=0, slots=3, max_new_tokens=24)
    choice, engine = Choice("prm", taught_folder, best_of=2) if judge else None, parrot.Settings(tokens=tuple(said))
    play = play_of(taught_folder, how, household_games[:4], choice=choice, engine=engine)
    episodes = play_games(ready(play), play, SilentMonitor())
    assert {turn.action for episode in episodes for turn in episode.turns} == {"look"}
