"""Policy improvement: our loop, which reads an episode once for all its states and answers, against TRL's trainer."""

import copy

import torch

from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.lean_layers import use_lean_layers
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.improvement.branched_states import policy_prefixes
from agentprm_dagster.improvement.dpo_settings import Settings as Improvement
from agentprm_dagster.improvement.judging import Judge
from agentprm_dagster.improvement.online_dpo import improve
from agentprm_dagster.improvement.trl import Settings as TrlSettings
from agentprm_dagster.improvement.trl_online_dpo import train_with_trl
from agentprm_dagster.launch.job import Job
from benchmarks.measure import RUNS, Row, rate, summarise
from benchmarks.workload import noisy_rollouts, policy

STEPS, EPISODES, STATES = 2, 8, 3
DPO = {
    "steps": STEPS,
    "episodes_per_step": EPISODES,
    "states_per_episode": STATES,
    "labels": "hard",
    "min_gap": 0,
    "kl_weight": 0,
}


def run() -> list[Row]:
    """Answers a second that are drawn, judged and learnt from; the paper's loss, without the KL term in full."""
    torch.set_num_threads(1)
    chat = Chat(checkpoints.load_tokenizer(policy()), WORDING)
    prefixes = policy_prefixes(chat, noisy_rollouts(40), "append")
    same = {name: value for name, value in DPO.items() if name in TrlSettings.model_fields}
    trl = TrlSettings(**same)
    plans = {n: Improvement(candidates=n, **DPO) for n in (2, 8)}
    measured: dict[int, list[tuple[float, float | None]]] = {n: [] for n in plans}
    for _ in range(RUNS):
        theirs = rate(lambda: _trl(chat, prefixes, trl))
        for n, plan in plans.items():
            measured[n].append((rate(lambda plan=plan: _ours(chat, prefixes, plan)), theirs))
    return [summarise(f"{n} answers a state; TRL: 2", "answers/s", pairs) for n, pairs in measured.items()]


def _ours(chat: Chat, prefixes: list[EpisodeTokens], plan: Improvement) -> float:
    model, prm = checkpoints.load_policy(policy()), checkpoints.prm_from_policy(policy(), seed=0)
    for each in (model, prm):
        use_grouped_attention(each)
        use_lean_layers(each)
    reference = copy.deepcopy(model).requires_grad_(False)
    judge = Judge(prm.eval(), chat)
    steps = improve(model, reference, judge, chat, prefixes, plan, job=Job(seed=0))
    return sum(step["states"] for step in steps) * plan.candidates


def _trl(chat: Chat, prefixes: list[EpisodeTokens], plan: TrlSettings) -> float:
    model, prm = checkpoints.load_policy(policy()), checkpoints.prm_from_policy(policy(), seed=0)
    train_with_trl(model, prm, chat, prefixes, "append", plan, seed=0, monitor=SilentMonitor())
    return STEPS * EPISODES * STATES * 2
