"""A program that several processes run together: trains a model and writes it, or the reason why not.

python -m torch.distributed.run --nproc-per-node 2 together.py REQUEST.json
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.config import Prm, Sft
from agentprm_dagster.config.compute import TrainingCompute
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Resume, SilentMonitor
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.improvement import policy_gradient, trajectory_dpo
from agentprm_dagster.improvement.branched_states import branched_states, policy_prefixes
from agentprm_dagster.improvement.dpo_settings import Settings as Dpo
from agentprm_dagster.improvement.episode_pairs import episode_pairs
from agentprm_dagster.improvement.grouped_answers import answer_advantages, answers_by_state
from agentprm_dagster.improvement.grpo import Settings as Grpo
from agentprm_dagster.improvement.inputs import Inputs
from agentprm_dagster.improvement.judging import Judge
from agentprm_dagster.improvement.online_dpo import improve
from agentprm_dagster.improvement.stored import Start, begin, measured_kl
from agentprm_dagster.improvement.stored_training import train_on_examples
from agentprm_dagster.launch import device
from agentprm_dagster.launch.device import computing, place_trained
from agentprm_dagster.launch.job import Job
from agentprm_dagster.training import prm_examples, sft, tree_training
from agentprm_dagster.training.saving import save_trained


class Read(NamedTuple):
    """What is learnt, and how."""

    examples: Sequence[Any]
    work: tuple[Any, ...]


def pairs_of(start: Start, episodes: Sequence[Episode], most: int | None) -> Read:
    """For whole-episode DPO."""
    pairs = trajectory_dpo.examples(start, episode_pairs(episodes, 1, 0), "append", most)
    return Read(pairs, (trajectory_dpo.trajectory_work, 0.1))


def answers_of(start: Start, episodes: Sequence[Episode], most: int | None) -> Read:
    """For the policy gradient."""
    along = answers_by_state(episodes, answer_advantages(episodes, gamma=0.9, omega=1.0, normalise="std"))
    answers = policy_gradient.examples(start, episodes, along, "append", most)
    return Read(answers, (policy_gradient.policy_gradient_work, 0.2, 0.04))


COMPARED = {"outcome_dpo": pairs_of, "grpo": answers_of}


def train(what: str, policy: Path, rollouts: Path, out: Path, job: Job, optimizer: Any) -> dict[str, float]:
    """One of the trainings; its numbers."""
    tokenizer, episodes = checkpoints.load_tokenizer(policy), read_episodes(rollouts)
    chat, dtype = Chat(tokenizer, WORDING), torch.float32
    if what == "sft":
        model = checkpoints.load_policy(policy)
        numbers = sft.fit(
            model, sft.sft_rows(episodes[:9], chat), Sft(epochs=2, batch_episodes=5, optimizer=optimizer), job, dtype
        )
    elif what == "prm":
        model = checkpoints.prm_from_policy(policy, seed=0)
        targets = mc_value_targets(episodes, gamma=0.9, held_out_games=0, seed=0)
        examples = prm_examples.prm_examples(chat, episodes, targets, "append", branch_turns=1, read_replies=True)
        plan = Prm(epochs=2, batch_tokens=2000, optimizer=optimizer)
        loss = tree_training.fit(model, examples, prm_examples.loss_terms, plan, job)
        with computing(model, dtype):
            answers, _ = prm_examples.predict(model, examples[:3], 3000)
        numbers = {"train_loss": loss, "value": sum(answers)}
    elif what in COMPARED:
        start = begin(Inputs(policy, rollouts, {}, {}, KIND), job)
        model, read = start.model, COMPARED[what](start, episodes, job.compute.micro_batch_tokens)
        plan_of_all = Grpo(learning_rate=2e-4, optimizer=optimizer)
        numbers = train_on_examples(start, read.examples, plan_of_all, 4, job, *read.work).history[-1]
        numbers["measured"] = measured_kl(start, policy_prefixes(chat, episodes, "append"), new=8, seed=0)
    else:
        model, critic = checkpoints.load_policy(policy), checkpoints.prm_from_policy(policy, seed=1).eval()
        reference = checkpoints.load_policy(policy).requires_grad_(False)
        for each in (model, critic, reference):
            use_grouped_attention(each)
        place_trained(model, job.compute, dtype)
        branched = branched_states(episodes)
        prefixes = [prefix for episode, turns in branched for prefix in chat.conversations(episode, "append", turns)]
        plan_of = Dpo(steps=3, episodes_per_step=5, states_per_episode=2, min_gap=0, optimizer=optimizer)
        history = improve(model, reference, Judge(critic, chat), chat, prefixes, plan_of, job=job)
        numbers = history[-1]
    save_trained(model, tokenizer, out)
    return numbers


class Deadly(SilentMonitor):
    """Kills its process when it is told of so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def progress(self, done: int, total: int, what: str) -> None:
        if done == self.steps:
            os.kill(os.getpid(), signal.SIGKILL)


def main(request: Path) -> None:
    asked = json.loads(request.read_text())
    torch.set_num_threads(1)
    device._SMALL = 0  # as a large model is trained: no shards of its own
    if asked["together"]:
        dist.init_process_group("gloo")
    resume = Resume(Path(asked["resume"]), seconds=0) if asked.get("resume") else None
    job = Job(
        seed=0, monitor=Deadly(asked.get("dies_at", -1)), resume=resume, compute=TrainingCompute(**asked["compute"])
    )
    policy, rollouts, out = (Path(asked[name]) for name in ("policy", "rollouts", "out"))
    numbers = train(asked["what"], policy, rollouts, out, job, asked["optimizer"])
    if dist.is_initialized() and dist.get_rank():
        return
    (Path(asked["out"]) / "numbers.json").write_text(json.dumps(numbers))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    if dist.is_initialized():
        dist.destroy_process_group()
