"""Rollouts: decisions a second against the loop that one writes first, and how the cost grows."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agentprm_dagster.agents.best_of_n import BestOfN, PrmJudge
from agentprm_dagster.agents.policy import Policy
from agentprm_dagster.config import Model
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.engine import EmbeddedEngine
from agentprm_dagster.engine.embedded.model import build_model
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.rollouts.collect import whole_episodes
from agentprm_dagster.rollouts.rollout import play
from benchmarks.limits import matmul_flops, token_flops
from benchmarks.measure import Row, compare
from benchmarks.reference_loop import ReferenceLoop
from benchmarks.workload import playable, policy

GAMES, TURNS, NEW_TOKENS, BEST_OF = 32, 30, 16, 4
BEST_OF_GAMES = 8
"""Best-of-N plays fewer games: the baseline takes that long."""


def run() -> list[Row]:
    """Both on one thread: a rollout process of ours uses one core, and there are as many as cores."""
    torch.set_num_threads(1)
    games = playable("valid_seen", GAMES)
    return [*against_reference(games), *sweeps()]


def against_reference(games: Sequence[PlayableGame]) -> list[Row]:
    """The same games, policy and temperature; the decisions of episodes that are over do not count for either."""
    model, tokenizer = checkpoints.load_policy(policy()), checkpoints.load_tokenizer(policy())
    prm = checkpoints.prm_from_policy(policy(), seed=0).eval()
    limit = decisions_limit(model, Chat(tokenizer, WORDING), rollouts(model, games))
    rows = []
    for name, temperature, judge in (("greedy", 0.0, None), ("temperature 0.7", 0.7, None), ("Best of 4", 1.0, prm)):
        some = games[:BEST_OF_GAMES] if judge else games
        reference = ReferenceLoop(model, tokenizer, TURNS, NEW_TOKENS, temperature, judge, BEST_OF if judge else 1)
        rows.append(
            compare(
                f"{name}, {len(some)} games, {TURNS} turns",
                "decisions/s",
                lambda t=temperature, q=judge, g=some: decisions(rollouts(model, g, temperature=t, prm=q)),
                lambda loop=reference, g=some: decisions(loop.play(g)),
                limit=limit / BEST_OF if judge else limit,
            )
        )
    return rows


def sweeps() -> list[Row]:
    """Ours alone over the number of games, of turns and of slots, and over the size of the model."""
    model, tokenizer = checkpoints.load_policy(policy()), checkpoints.load_tokenizer(policy())
    sized = [
        (f"hidden size {hidden}, {layers} layers, untrained", _untrained(hidden, layers, tokenizer))
        for hidden, layers in ((64, 2), (128, 4), (256, 4))
    ]
    trials = [
        *((f"{count} games", model, {"games": count}) for count in (8, 64, 256)),
        *((f"{turns} turns", model, {"turns": turns}) for turns in (10, 50)),
        *((f"{slots} slots", model, {"slots": slots}) for slots in (1, 8, 32)),
        *((name, other, {}) for name, other in sized),
    ]
    rows = []
    for name, player, how in trials:
        games = playable("train", int(how.pop("games", GAMES)))
        rows.append(
            compare(name, "decisions/s", lambda p=player, g=games, h=how: decisions(rollouts(p, g, **h)), runs=3)
        )
    return rows


def _untrained(hidden: int, layers: int, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    sizes = Model(hidden_size=hidden, layers=layers, intermediate_size=5 * hidden // 2)
    return build_model(sizes, tokenizer, seed=0)


def rollouts(
    model: PreTrainedModel,
    games: Sequence[PlayableGame],
    *,
    temperature: float = 0.0,
    prm: PreTrainedModel | None = None,
    slots: int = 64,
    turns: int = TURNS,
) -> list[Episode]:
    """One episode of every game on our engine."""
    settings = {
        "dialogue": "append",
        "slots": slots,
        "temperature": temperature,
        "max_new_tokens": NEW_TOKENS,
        "seed": 0,
    }
    chat = Chat(checkpoints.load_tokenizer(policy()), WORDING)
    engine = EmbeddedEngine(model, conversations=slots)
    agent = Policy(engine, chat, **settings)
    if prm:
        judge = PrmJudge(EmbeddedEngine(prm, conversations=slots), chat, "append")
        agent = BestOfN(engine, chat, judge, n=BEST_OF, **settings)
    starts = whole_episodes(games, 1)
    return play(agent, starts, max_steps=turns, total=len(starts), monitor=SilentMonitor())


def decisions(episodes: Sequence[Episode]) -> float:
    """Turns played."""
    return sum(len(episode.turns) for episode in episodes)


def decisions_limit(model: PreTrainedModel, chat: Chat, episodes: Sequence[Episode]) -> float:
    """Decisions a second of one core, if reading every token once were a large product; attention left out."""
    dialogues = [chat.conversations(episode)[0] for episode in episodes]
    read = sum(len(dialogue.ids) for dialogue in dialogues)
    drawn = sum(stop - first for dialogue in dialogues for first, stop in dialogue.answers)
    flops = read * token_flops(model) + drawn * 2 * model.get_output_embeddings().weight.numel()
    return decisions(episodes) * matmul_flops(torch.float32, 1) / flops
