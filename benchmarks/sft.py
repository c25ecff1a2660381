"""Supervised fine-tuning: TRL's SFTTrainer as we run it, against the same trainer as it comes."""

from unittest.mock import patch

import torch
from trl import SFTTrainer

from agentprm_dagster.config import Sft
from agentprm_dagster.core.stage import SilentMonitor
from agentprm_dagster.models import checkpoints
from agentprm_dagster.models.chat import Chat
from agentprm_dagster.models.lean_layers import product_dtype, use_lean_layers
from agentprm_dagster.training import sft
from benchmarks.limits import matmul_flops, token_flops
from benchmarks.measure import Row, compare
from benchmarks.workload import noisy_rollouts, policy

SETTINGS = Sft(epochs=1, batch_episodes=8)


def run() -> list[Row]:
    """Tokens a second of one epoch over won episodes, one row an episode for both."""
    torch.set_num_threads(1)
    tokenizer = checkpoints.load_tokenizer(policy())
    won = [episode for episode in noisy_rollouts(40) if episode.won]
    data = sft.sft_dataset(won, Chat(tokenizer))
    tokens = sum(map(len, data["input_ids"]))

    def train(*, lean: bool) -> float:
        model = checkpoints.load_policy(policy())
        if lean:
            use_lean_layers(model)
        sft.fit(model, tokenizer, data, SETTINGS, seed=0, monitor=SilentMonitor())
        return tokens

    def as_it_comes() -> float:
        with patch.object(sft, "AnswersTrainer", SFTTrainer):
            return train(lean=False)

    flops = 3 * token_flops(checkpoints.load_policy(policy()))
    limit = matmul_flops(product_dtype(), 1) / flops
    return [compare("training", "tokens/s", lambda: train(lean=True), as_it_comes, limit=limit)]
