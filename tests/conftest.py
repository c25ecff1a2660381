"""What tests of several parts share: a home of their own, the toy experiment, a few games, the smallest of models."""

import signal
import sys
from collections.abc import Iterator
from os import environ, umask
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from hypothesis import settings

from agentprm_dagster.envs.alfworld.games import find_games
from agentprm_dagster.envs.alfworld.generate import generate_games
from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.launch.job import Job
from agentprm_dagster.rollouts.collect import collect_rollouts
from agentprm_dagster.rollouts.demonstrations import collect_demonstrations
from chat_servers import KEY, Proxy, proxy_before, serving, teach
from scripted import Scripted, knowing
from toy import toy_definitions, toy_trainers, write_toy

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# For the smallest of models two threads wait for each other longer than they compute. Read when torch is imported.
environ["OMP_NUM_THREADS"] = "1"

# Nor does what a processor multiplies fastest say anything of the code: tests compute alike on all of them.
environ.setdefault("AGENTPRM_PRODUCTS", "float32")

# What Dagster loads depends on what was run in the home: not in that of whoever runs the tests.
environ["AGENTPRM_HOME"] = mkdtemp(prefix="agentprm-")

# In a script's background job interrupts are ignored: the Dagster services that tests start would ignore SIGTERM too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing on a busy machine.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An AGENTPRM_HOME that is not there yet. A test may change what the process writes for whom."""
    monkeypatch.setenv("AGENTPRM_HOME", str(tmp_path / "home"))
    for inherited in ("MLFLOW_TRACKING_URI", "DAGSTER_HOME", "AGENTPRM_STORE"):
        monkeypatch.delenv(inherited, raising=False)
    before = umask(0o022)
    yield tmp_path / "home"
    umask(before)


@pytest.fixture
def toy(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """The definitions of the toy experiment, which also the command line knows."""
    write_toy(tmp_path / "experiments")
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(tmp_path / "experiments"))
    for name, module in toy_trainers().items():
        monkeypatch.setitem(sys.modules, name, module)
    return toy_definitions()


@pytest.fixture(scope="session")
def household_games(tmp_path_factory: pytest.TempPathFactory) -> list[PlayableGame]:
    """Two generated games of every task type."""
    root = tmp_path_factory.mktemp("household")
    generate_games(root, seed=4, counts={"train": 12}, size="small")
    return [PlayableGame(ref) for ref in find_games(root, "train")]


@pytest.fixture(scope="session")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server's URL and its model, which knows the shorter half of six training games by heart (seed 4)."""
    root, checkpoint = tmp_path_factory.mktemp("asked"), tmp_path_factory.mktemp("served")
    generate_games(root, seed=4, counts={"train": 6, "valid_seen": 6, "valid_unseen": 6}, size="small")
    games = [PlayableGame(ref) for ref in find_games(root, "train")]
    shown = collect_demonstrations(
        games,
        KIND,
        expert="walkthrough",
        episodes=6,
        max_steps=30,
        seed=0,
        monitor=SilentMonitor(),
        keep_candidates=True,
    )
    teach(sorted(shown, key=lambda episode: len(episode.turns))[:3], checkpoint)
    with serving(checkpoint) as url:
        yield url, checkpoint


@pytest.fixture
def proxy(model_server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before that server, which the environment names."""
    url, checkpoint = model_server
    with proxy_before(url) as proxy:
        monkeypatch.setenv("OPENAI_BASE_URL", proxy.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("AGENTPRM_LLM_MODEL", str(checkpoint))
        yield proxy


@pytest.fixture(scope="session")
def demonstrations(household_games: list[PlayableGame]) -> list[Episode]:
    """Each of these games won by its walkthrough, and played by the handcoded expert, which searches and errs."""
    return [
        episode
        for expert in ("walkthrough", "handcoded")
        for episode in collect_demonstrations(
            household_games, KIND, expert=expert, episodes=12, max_steps=30, seed=0, monitor=SilentMonitor()
        )
    ]


@pytest.fixture(scope="session")
def rollouts(household_games: list[PlayableGame]) -> list[Episode]:
    """Each of these games won, with branches of which some are won and some lost."""
    return collect_rollouts(
        Scripted(knowing(household_games)),
        household_games,
        per_game=1,
        max_steps=12,
        branch_states=2,
        branch_actions=3,
        branch_continuations=2,
        branch_temperature=1.0,
        seed=0,
        monitor=SilentMonitor(),
    )


@pytest.fixture(scope="session")
def corpus(demonstrations: list[Episode], rollouts: list[Episode]) -> list[str]:
    """All that is said in these episodes."""
    dialogues = (
        WORDING.conversation(episode.first_observation, episode.turns, last_observation=True)
        for episode in (*demonstrations, *rollouts)
    )
    return [message["content"] for dialogue in dialogues for message in dialogue]


@pytest.fixture(scope="session")
def tokenizer(corpus: list[str]) -> "PreTrainedTokenizerFast":
    """The embedded tokenizer for the corpus."""
    from agentprm_dagster.engine.tokenizer import build_tokenizer

    return build_tokenizer(corpus)


@pytest.fixture(scope="session")
def policy_folder(tokenizer: "PreTrainedTokenizerFast", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a tiny policy with random weights. Not to be written to."""
    from agentprm_dagster.config import Model
    from agentprm_dagster.engine import checkpoints
    from agentprm_dagster.engine.embedded.model import build_model

    folder = tmp_path_factory.mktemp("policy")
    sizes = Model(hidden_size=32, layers=2, heads=4, kv_heads=1, intermediate_size=64)
    checkpoints.save(build_model(sizes, tokenizer, seed=0), tokenizer, folder)
    return folder


@pytest.fixture(scope="session")
def prm_folder(policy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a PRM that begins as that policy. Not to be written to."""
    from agentprm_dagster.engine import checkpoints

    folder = tmp_path_factory.mktemp("prm")
    prm = checkpoints.prm_from_policy(policy_folder, seed=1)
    checkpoints.save(prm, checkpoints.load_tokenizer(policy_folder), folder)
    return folder


@pytest.fixture(scope="session")
def taught_folder(
    demonstrations: list[Episode],
    tokenizer: "PreTrainedTokenizerFast",
    policy_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The checkpoint of that policy after some lessons: most of its answers have the agreed form, and end.

    Not to be written to.
    """
    from agentprm_dagster.config import Sft
    from agentprm_dagster.engine import checkpoints
    from agentprm_dagster.engine.chat import Chat
    from agentprm_dagster.training.sft import fit, sft_rows

    folder = tmp_path_factory.mktemp("taught")
    model = checkpoints.load_policy(policy_folder)
    lessons = sft_rows(demonstrations[:12], Chat(tokenizer, WORDING))
    settings = Sft(epochs=20, learning_rate=2e-2, batch_episodes=2)
    fit(model, lessons, settings, job=Job(seed=0))
    checkpoints.save(model, tokenizer, folder)
    return folder
