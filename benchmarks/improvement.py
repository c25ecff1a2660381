"""Policy improvement: our loop, which reads an episode once for all its states and answers, against TRL's trainer."""

import torch

from agentprm_dagster.config import Improvement
from agentprm_dagster.core.stage import SilentMonitor
from agentprm_dagster.models import checkpoints
from agentprm_dagster.models.attention import use_grouped_attention
from agentprm_dagster.models.chat import Chat
from agentprm_dagster.models.lean_layers import use_lean_layers
from agentprm_dagster.training.candidates import Trunk, trunks_of
from agentprm_dagster.training.policy_improvement import Judge, contested_states, policy_steps
from agentprm_dagster.training.trl_online_dpo import train_with_trl
from benchmarks.measure import Row, compare
from benchmarks.workload import noisy_rollouts, policy

STEPS, STATES = 3, 48
DPO = {"steps": STEPS, "states_per_step": STATES, "labels": "hard", "min_gap": 0, "kl_weight": 0}


def run() -> list[Row]:
    """Answers a second that are drawn, judged and learnt from; the paper's loss, without its KL term in full."""
    torch.set_num_threads(1)
    chat = Chat(checkpoints.load_tokenizer(policy()))
    contested = contested_states(noisy_rollouts(40))
    trunks = [trunk for episode, turns in contested for trunk in trunks_of(chat, episode, turns, "append")]
    trl = Improvement(trainer="trl", candidates=2, **DPO)
    rows = []
    for candidates, per_episode in ((2, 3), (8, 3)):
        ours = Improvement(candidates=candidates, states_per_episode=per_episode, **DPO)
        rows.append(
            compare(
                f"{candidates} answers a state, {per_episode} states an episode; TRL: 2 and 1",
                "answers/s",
                lambda plan=ours: _ours(chat, trunks, plan),
                lambda: _trl(chat, trunks, trl),
            )
        )
    return rows


def _ours(chat: Chat, trunks: list[Trunk], plan: Improvement) -> float:
    model, prm = checkpoints.load_policy(policy()), checkpoints.prm_from_policy(policy(), seed=0)
    for each in (model, prm):
        use_grouped_attention(each)
        use_lean_layers(each)
    steps = list(policy_steps(model, Judge(prm.eval(), chat), chat, trunks, plan, seed=0, monitor=SilentMonitor()))
    return sum(step["states"] for step in steps) * plan.candidates


def _trl(chat: Chat, trunks: list[Trunk], plan: Improvement) -> float:
    model, prm = checkpoints.load_policy(policy()), checkpoints.prm_from_policy(policy(), seed=0)
    train_with_trl(model, prm, chat, trunks, "append", plan, seed=0, monitor=SilentMonitor())
    return STEPS * STATES * 2
