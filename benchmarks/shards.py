"""Steps of training whose shards have processes of their own, against the same steps one shard after the other."""

from collections.abc import Callable
from functools import partial

import torch

from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.config import Prm
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.lean_layers import use_lean_layers
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.improvement.branched_states import policy_prefixes
from agentprm_dagster.improvement.dpo_settings import Settings as Improvement
from agentprm_dagster.improvement.judging import Judge
from agentprm_dagster.improvement.online_dpo import improvement_work
from agentprm_dagster.launch.cores import cores
from agentprm_dagster.launch.shards import Shards
from agentprm_dagster.training.prm_examples import loss_terms, prm_examples
from agentprm_dagster.training.tree_training import token_budget_batches, tree_work
from benchmarks.measure import Row, compare
from benchmarks.workload import noisy_rollouts, policy

STEPS, GAMES, ROWS = 5, 40, 24
SETTINGS = Improvement(episodes_per_step=ROWS, states_per_episode=3, min_gap=0)


def run() -> list[Row]:
    """Steps a second, the processes already there; the limit is twice the baseline. Nothing to see on one core."""
    torch.set_num_threads(1)
    return [_both("PRM", _prm), _both("policy improvement", _improvement)] if cores() > 1 else []


def _both(name: str, steps: Callable[[bool], Callable[[], float]]) -> Row:
    together, alone = steps(True), steps(False)
    together(), alone()  # the first step waits for the process
    return compare(name, "steps/s", together, alone)


def _prm(apart: bool) -> Callable[[], float]:
    model = checkpoints.prm_from_policy(policy(), seed=0)
    use_grouped_attention(model)
    use_lean_layers(model)
    episodes, chat = noisy_rollouts(GAMES), Chat(checkpoints.load_tokenizer(policy()), WORDING)
    targets = mc_value_targets(episodes, gamma=0.9, held_out_games=0, seed=0)
    examples = prm_examples(chat, episodes, targets, "append", branch_turns=1, read_replies=True)
    batches = token_budget_batches(examples, 4096, seed=0)[:2]
    shards = Shards(model, tree_work, loss_terms, None, Prm(), apart=apart)
    return partial(_steps, shards, [(batch, 0.0) for batch in batches])


def _improvement(apart: bool) -> Callable[[], float]:
    model, prm = checkpoints.load_policy(policy()), checkpoints.prm_from_policy(policy(), seed=0)
    for each in (model, prm):
        use_grouped_attention(each.eval())
        use_lean_layers(each)
    chat = Chat(checkpoints.load_tokenizer(policy()), WORDING)
    prefixes = policy_prefixes(chat, noisy_rollouts(GAMES), "append")[:ROWS]
    reference, longest = checkpoints.load_policy(policy()), max(prefix.states[-1] for prefix in prefixes)
    use_grouped_attention(reference)
    shards = Shards(model, improvement_work, reference, Judge(prm, chat), chat, SETTINGS, longest, 0, apart=apart)
    return partial(_steps, shards, [(0, prefixes[::2]), (0, prefixes[1::2])])


def _steps(shards: Shards, parts: list[object]) -> float:
    for _ in range(STEPS):
        shards.backward(parts)
    return STEPS
