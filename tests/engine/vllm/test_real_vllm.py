"""The real vLLM beside transformers: games, log-probabilities, values. `make vllm` runs it; it takes minutes to start.

On a CPU build VLLM_CPU_KVCACHE_SPACE bounds a server's cache, in GiB.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from os import environ
from pathlib import Path

import httpx2
import psutil
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from adapters_of import adapter_of
from agentprm_dagster.config import Model, Rollouts, Sft
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.base import Engine, Limits, Role
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.difference import engine_difference
from agentprm_dagster.engine.embedded.model import build_model
from agentprm_dagster.engine.transformers import kind as transformers
from agentprm_dagster.engine.vllm import kind as vllm
from agentprm_dagster.engine.vllm.server import PYTHON
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.launch import worker
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.latest_model import LatestModel
from agentprm_dagster.launch.play import Choice, Play
from agentprm_dagster.launch.worker import play_games, ready
from agentprm_dagster.training.sft import fit, sft_rows
from plays import play_of

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(not environ.get(PYTHON), reason=f"{PYTHON} names no environment with vLLM (docs/models.md)"),
]

# The CPU build of 0.32 ends where a prompt is read in parts: it cannot take back what was drawn behind the first.
SETTINGS = vllm.Settings(arguments=("--enforce-eager", "--no-enable-chunked-prefill"))
GREEDY = Rollouts(per_game=1, temperature=0.0, max_steps=6, branch_states=0, slots=6, max_new_tokens=24)
SAMPLED = Rollouts(per_game=1, max_steps=5, branch_states=1, branch_actions=2, slots=6, max_new_tokens=24)


@pytest.fixture(scope="module")
def taught_folder(
    demonstrations: list[Episode], tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A policy after some lessons, with heads as wide as vLLM's attention on a CPU needs them."""
    folder = tmp_path_factory.mktemp("taught")
    sizes = Model(hidden_size=64, layers=2, heads=2, kv_heads=1, intermediate_size=128)
    model = build_model(sizes, tokenizer, seed=0)
    lessons = sft_rows(demonstrations[:12], Chat(tokenizer, WORDING))
    settings = Sft(epochs=20, learning_rate=1e-2, batch_episodes=2)
    fit(model, lessons, settings, Job(seed=0))
    checkpoints.save(model, tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def judge_folder(taught_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge")
    prm = checkpoints.prm_from_policy(taught_folder, seed=1)
    checkpoints.save(prm, checkpoints.load_tokenizer(taught_folder), folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def servers() -> Iterator[None]:
    """Those that the plays start are kept for all tests, and leave nothing behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", environ.get("VLLM_CPU_KVCACHE_SPACE", "1"))
        yield
        ours = psutil.Process().children(recursive=True)
        for latest in (worker._policy, worker._judging):
            latest.let_go()
        gone, left = psutil.wait_procs(ours, timeout=30)
    assert gone and not left


@pytest.fixture
def chat(taught_folder: Path) -> Chat:
    return Chat(checkpoints.load_tokenizer(taught_folder), WORDING)


def played(play: Play) -> list[Episode]:
    return play_games(ready(play), play, SilentMonitor())


def opened(folder: Path, role: Role, conversations: int) -> tuple[Engine, Engine]:
    """vLLM, by the server that plays, and transformers."""
    latest = worker._policy if role == "policy" else worker._judging
    stock = transformers.Settings(device="cpu")
    return (
        vllm.open(latest.load(folder, role, SETTINGS), SETTINGS, conversations=conversations),
        transformers.open(transformers.load(folder, role, stock), stock, conversations=conversations),
    )


def begun(engine: Engine, dialogues: Sequence[EpisodeTokens]) -> tuple[range, list[list[list[int]]]]:
    """The last answer of each dialogue, and no answer but the end token, behind what was said before."""
    for i, dialogue in enumerate(dialogues):
        engine.begin(i, dialogue.prompt)
    return range(len(dialogues)), [[each.ids[len(each.prompt) :], each.ids[-1:]] for each in dialogues]


@pytest.fixture
def dialogues(chat: Chat, demonstrations: list[Episode]) -> list[EpisodeTokens]:
    """Some of several turns."""
    some = islice((episode for episode in demonstrations if len(episode.turns) > 3), 8)
    return [tokens for episode in some for tokens in chat.conversations(episode, turns=[len(episode.turns) - 1])]


def test_greedy_games_are_those_of_transformers_word_for_word(
    taught_folder: Path, household_games: list[PlayableGame], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_vllm = played(play_of(taught_folder, GREEDY, household_games, engine=SETTINGS))
    monkeypatch.setattr(worker, "_policy", LatestModel())  # so that the server is kept
    stock = transformers.Settings(device="cpu")
    by_transformers = played(play_of(taught_folder, GREEDY, household_games, engine=stock))
    assert by_vllm == by_transformers
    assert len({turn.response for episode in by_vllm for turn in episode.turns}) > 3


@pytest.mark.parametrize("best_of", [1, 3])
def test_sampled_games_are_the_same_in_any_company(
    taught_folder: Path, judge_folder: Path, household_games: list[PlayableGame], best_of: int
) -> None:
    """With branches where the policy plays alone, and with a PRM that chooses."""
    choice = Choice("prm", judge_folder, best_of) if best_of > 1 else None
    how = SAMPLED.model_copy(update={"branch_states": 0}) if choice else SAMPLED
    few, many = (
        played(play_of(taught_folder, each, household_games, engine=SETTINGS, choice=choice))
        for each in (how.model_copy(update={"slots": slots}) for slots in (2, 6))
    )
    assert few == many
    assert choice or any(episode.parent for episode in few)
    assert len({turn.response for episode in few for turn in episode.turns}) > 3


def test_log_probabilities_are_those_of_transformers(taught_folder: Path, dialogues: list[EpisodeTokens]) -> None:
    engine, stock = opened(taught_folder, "policy", len(dialogues))
    said, expected = (each.log_probs(*begun(each, dialogues)) for each in (engine, stock))
    assert float((said - expected).abs().max()) < 1e-4


def test_hot_adapters_have_the_log_probabilities_of_transformers(
    taught_folder: Path, dialogues: list[EpisodeTokens], tmp_path: Path
) -> None:
    """Two, one after the other in the same server."""
    hot, latest = SETTINGS.model_copy(update={"adapters": "hot"}), LatestModel()
    stock, said = transformers.Settings(device="cpu"), []
    for seed in range(2):
        folder = adapter_of(taught_folder, tmp_path / f"pi_{seed}", rank=4, seed=seed)
        served = latest.load(folder, "policy", hot)
        engine = vllm.open(served, hot, conversations=len(dialogues))
        expected = transformers.open(transformers.load(folder, "policy", stock), stock, conversations=len(dialogues))
        said.append(engine.log_probs(*begun(engine, dialogues)))
        assert float((said[-1] - expected.log_probs(*begun(expected, dialogues))).abs().max()) < 1e-4
    assert float((said[0] - said[1]).abs().max()) > 0.1
    assert served.servers[0].words().count("vLLM API server version") <= 1
    latest.let_go()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_drawn_has_the_models_own_log_probability(
    taught_folder: Path, chat: Chat, dialogues: list[EpisodeTokens], temperature: float
) -> None:
    """Not that of the temperature, nor of the tokens that may be drawn."""
    engine, stock = opened(taught_folder, "policy", len(dialogues))
    some, _ = begun(engine, dialogues)
    begun(stock, dialogues)
    common = [tokens.ids[-2] for tokens in dialogues]
    limits = Limits(chat.end, 12, (*chat.never_drawn(engine.vocabulary), *common))
    drawn = engine.sample(some, 3, limits, temperature=temperature, seeds=range(len(some)))
    whole = [
        [[*ids, *[chat.end] * ended] for ids, ended in zip(*each, strict=True)]
        for each in zip(drawn.tokens, drawn.finished, strict=True)
    ]
    assert not {*limits.banned} & {token for each in drawn.tokens for ids in each for token in ids}
    assert float((drawn.log_probabilities - stock.log_probs(some, whole)).abs().max()) < 1e-4
    assert engine.sample(some, 3, limits, temperature=temperature, seeds=range(len(some))).tokens == drawn.tokens


def test_values_are_those_of_transformers(judge_folder: Path, dialogues: list[EpisodeTokens]) -> None:
    engine, stock = opened(judge_folder, "prm", len(dialogues))
    said, expected = (each.score(*begun(each, dialogues)) for each in (engine, stock))
    assert float((said - expected).abs().max()) < 1e-4
    assert float(expected.std()) > 1e-3


def test_the_engine_agrees_and_says_its_version(taught_folder: Path, chat: Chat, demonstrations: list[Episode]) -> None:
    engine, _ = opened(taught_folder, "policy", 16)
    assert engine_difference(engine, taught_folder, chat, demonstrations, "append", seed=0).nats < 1e-4
    (server,) = worker._policy.load(taught_folder, "policy", SETTINGS).servers
    named = SETTINGS.model_copy(update={"policy_url": server.url})
    assert vllm.versions(named)["vllm"].startswith(vllm.versions(SETTINGS)["vllm"])


def test_a_long_prompt_is_read_once(taught_folder: Path) -> None:
    engine, _ = opened(taught_folder, "policy", 1)
    prompt = torch.arange(600).remainder(90).add(6).tolist()
    read = []
    for _ in range(2):
        before = engine.tokens_read
        engine.begin(0, prompt)
        engine.sample([0], 1, Limits(5, 2), temperature=1.0, seeds=[1])
        read.append(engine.tokens_read - before)
    assert read[0] == 600
    assert read[1] < 300


def test_its_refusals_are_told(taught_folder: Path) -> None:
    (server,) = worker._policy.load(taught_folder, "policy", SETTINGS).servers
    asked = httpx2.post(f"{server.url}/v1/completions", json={"model": "other", "prompt": [7]}, trust_env=False)
    assert asked.status_code == 404
