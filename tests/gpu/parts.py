"""What every stage computes with a model, on the pretended accelerator: prints what a real one would refuse, as JSON.

    python -m gpu.parts CHECKPOINT EPISODES DEMONSTRATIONS GAMES

A program of its own, because torch can take one pretended device a process and remembers it.
"""

import copy
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

torch.inference_mode = torch.no_grad  # type: ignore[misc,assignment]  # a tensor of a class of its own has no inference

from agentprm_dagster.agents.best_of_n import BestOfN, LogRatioJudge, PrmJudge  # noqa: E402
from agentprm_dagster.agents.learned_world import LearnedWorld  # noqa: E402
from agentprm_dagster.agents.lookahead import ModelPredictive  # noqa: E402
from agentprm_dagster.agents.policy import Policy  # noqa: E402
from agentprm_dagster.algorithm.targets import mc_value_targets  # noqa: E402
from agentprm_dagster.algorithm.terms import Terms, loss_of  # noqa: E402
from agentprm_dagster.config import InversePrm, Prm, WorldModel  # noqa: E402
from agentprm_dagster.engine import checkpoints  # noqa: E402
from agentprm_dagster.engine.chat import Chat  # noqa: E402
from agentprm_dagster.engine.embedded.attention import use_grouped_attention  # noqa: E402
from agentprm_dagster.engine.embedded.engine import EmbeddedEngine  # noqa: E402
from agentprm_dagster.engine.embedded.lean_layers import use_lean_layers  # noqa: E402
from agentprm_dagster.envs.alfworld.games import find_games  # noqa: E402
from agentprm_dagster.envs.alfworld.language import WORDING  # noqa: E402
from agentprm_dagster.envs.alfworld.playable import PlayableGame  # noqa: E402
from agentprm_dagster.episodes.stage import SilentMonitor  # noqa: E402
from agentprm_dagster.episodes.tables import read_episodes  # noqa: E402
from agentprm_dagster.improvement import policy_gradient, trajectory_dpo  # noqa: E402
from agentprm_dagster.improvement.branched_states import policy_prefixes  # noqa: E402
from agentprm_dagster.improvement.consequences import Consequences  # noqa: E402
from agentprm_dagster.improvement.dpo_settings import Settings as Dpo  # noqa: E402
from agentprm_dagster.improvement.episode_pairs import episode_pairs  # noqa: E402
from agentprm_dagster.improvement.grouped_answers import answer_advantages, answers_by_state  # noqa: E402
from agentprm_dagster.improvement.judging import Judge  # noqa: E402
from agentprm_dagster.improvement.online_dpo import improvement_work  # noqa: E402
from agentprm_dagster.improvement.stored import Start, measured_kl  # noqa: E402
from agentprm_dagster.rollouts.collect import collect_rollouts  # noqa: E402
from agentprm_dagster.rollouts.rollout import Agent  # noqa: E402
from agentprm_dagster.training import inverse_prm, prm_examples, sft, world_model  # noqa: E402
from agentprm_dagster.training.loop import MAX_GRADIENT  # noqa: E402
from agentprm_dagster.training.optimizers import OptimizerName, build_optimizer  # noqa: E402
from gpu import pretended  # noqa: E402

CHECKPOINT, EPISODES, DEMONSTRATIONS, GAMES = map(Path, sys.argv[1:])
CHAT = Chat(checkpoints.load_tokenizer(CHECKPOINT), WORDING)
ROLLOUTS, SHOWN = read_episodes(EPISODES), read_episodes(DEMONSTRATIONS)
PLAYABLE = [PlayableGame(ref) for ref in find_games(GAMES, "train")]


def policy() -> PreTrainedModel:
    """A policy on the device, as trainings read it."""
    model = checkpoints.load_policy(CHECKPOINT)
    return ready(model)


def prm() -> PreTrainedModel:
    """A PRM on the device."""
    return ready(checkpoints.prm_from_policy(CHECKPOINT, seed=1))


def ready(model: PreTrainedModel) -> PreTrainedModel:
    """On the device, with the attention that token trees take."""
    use_grouped_attention(model)
    use_lean_layers(model)
    pretended.put(model)
    return model


def step(model: PreTrainedModel, terms: Terms, optimizer: OptimizerName = "adamw") -> None:
    """Gradients, clipping and a step of the optimizer."""
    loss_of(terms).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT)
    build_optimizer(model, optimizer, learning_rate=1e-3, weight_decay=0.1).step()


def play(agent: Agent, steps: int, branch_states: int = 0) -> None:
    """A few turns of a few games."""
    collect_rollouts(
        agent,
        PLAYABLE[:3],
        per_game=1,
        max_steps=steps,
        branch_states=branch_states,
        branch_actions=2,
        branch_continuations=1,
        branch_temperature=1.5,
        seed=0,
        monitor=SilentMonitor(),
    )


HOW: dict[str, Any] = {"dialogue": "append", "slots": 2, "temperature": 1.0, "max_new_tokens": 12, "seed": 0}


def engine(model: PreTrainedModel) -> EmbeddedEngine:
    """Cached conversations of a model that lies on the device."""
    pretended.put(model)
    return EmbeddedEngine(model, conversations=6)


def rollouts() -> None:
    """Whole episodes and branches."""
    play(Policy(engine(checkpoints.load_policy(CHECKPOINT)), CHAT, **HOW), 3, branch_states=1)


def best_of_n() -> None:
    """Answers ranked by a PRM and by a log-ratio."""
    for judge, load in (
        (PrmJudge, lambda path: checkpoints.prm_from_policy(path, seed=1)),
        (LogRatioJudge, checkpoints.load_policy),
    ):
        ranked = judge(engine(load(CHECKPOINT)), CHAT, "append")
        play(BestOfN(engine(checkpoints.load_policy(CHECKPOINT)), CHAT, ranked, n=3, prior=1.0, **HOW), 2)


def lookahead() -> None:
    """Answers ranked by what a learned world model predicts."""
    world = LearnedWorld(engine(checkpoints.load_policy(CHECKPOINT)), CHAT, slots=2, max_reply_tokens=12)
    judge = PrmJudge(engine(checkpoints.prm_from_policy(CHECKPOINT, seed=1)), CHAT, "append")
    player = engine(checkpoints.load_policy(CHECKPOINT))
    play(ModelPredictive(player, CHAT, judge, world, turns=2, gamma=0.9, at_once=2, n=3, prior=1.0, **HOW), 2)


def fine_tuning() -> None:
    """A step of SFT with either optimizer."""
    for optimizer in ("adamw", "muon"):
        model = policy()
        (piece,) = sft.answers_work(model)(sft.sft_rows(SHOWN[:4], CHAT))
        step(model, piece.read()[0], optimizer)


def process_reward_model() -> None:
    """A step of the PRM with either loss, and reading it."""
    targets = mc_value_targets(ROLLOUTS, gamma=0.9, held_out_games=0, seed=0)
    examples = prm_examples.prm_examples(CHAT, ROLLOUTS, targets, "append", branch_turns=1, read_replies=True)[:4]
    for loss in ("absolute", "relative"):
        model = prm()
        step(model, prm_examples.loss_terms(model, examples, Prm(loss=loss), 0.5))
        prm_examples.predict(model, examples, 4096)


def inverse_process_reward_model() -> None:
    """A step of InversePRM."""
    model, examples = prm(), inverse_prm.own_transitions(CHAT, ROLLOUTS[:1], "append")
    expert = [replaced for each in SHOWN[:1] for replaced in inverse_prm.own_transitions(CHAT, [each], "append")]
    for each in expert:
        each.expert = True
    step(model, inverse_prm.loss_terms(model, [*expert, *examples], InversePrm(), 0.5))


def learned_world() -> None:
    """A step of the world model, and scoring it."""
    model, examples = policy(), world_model.world_examples(CHAT, ROLLOUTS)[:4]
    step(model, world_model.loss_terms(model, examples, WorldModel(), 0.5))
    world_model.score_replies(model, CHAT, examples, 4096)


def improvement() -> None:
    """A step of Online DPO with each kind of labels, ranked by answers and by replies."""
    prefixes = policy_prefixes(CHAT, ROLLOUTS, "append")[:3]
    longest = max(prefix.states[-1] for prefix in prefixes)
    consequences = Consequences(CHAT, {game.id: game for game in PLAYABLE})
    for labels, ranked in (("hard", "answer"), ("soft", "answer"), ("soft", "reply")):
        model, critic = policy(), prm()
        judge = Judge(critic.eval(), CHAT, consequences if ranked == "reply" else None)
        settings = Dpo.model_validate(
            {"labels": labels, "rank_by": ranked, "min_gap": 0, "candidates": 4, "temperature": 1.5}
        )
        reference = copy.deepcopy(checkpoints.load_policy(CHECKPOINT)).requires_grad_(False)
        work = improvement_work(model, 0, ready(reference), judge, CHAT, settings, longest, 0)
        (piece,) = work((0, prefixes))
        step(model, piece.read()[0])


def from_rollouts() -> None:
    """A step of whole-episode DPO and of the policy gradient, and how far they went."""
    reference = ready(checkpoints.load_policy(CHECKPOINT)).requires_grad_(False)
    for dialogue in ("append", "restated"):
        start = Start(policy(), reference, CHAT, torch.float32)
        pairs = trajectory_dpo.examples(start, episode_pairs(ROLLOUTS, 1, 0)[:2], dialogue, None)
        (piece,) = trajectory_dpo.trajectory_work(start.model, 0, 0.1)(pairs)
        step(start.model, piece.read()[0])
        along = answers_by_state(ROLLOUTS, answer_advantages(ROLLOUTS, gamma=0.9, omega=1.0, normalise="std"))
        answers = policy_gradient.examples(start, ROLLOUTS, along, dialogue, None)[:3]
        (piece,) = policy_gradient.policy_gradient_work(start.model, 0, 0.2, 0.04)(answers)
        step(start.model, piece.read()[0])
        measured_kl(start, policy_prefixes(CHAT, ROLLOUTS, dialogue)[:2], new=4, seed=0)


PARTS: Sequence[Callable[[], None]] = (
    rollouts,
    best_of_n,
    lookahead,
    fine_tuning,
    process_reward_model,
    inverse_process_reward_model,
    learned_world,
    improvement,
    from_rollouts,
)


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {}
    for part in PARTS:
        pretended.refused.clear()
        with pretended.Pretended():
            part()
        found[part.__name__] = dict(pretended.refused)
    print(json.dumps(found))
