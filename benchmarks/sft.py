"""Supervised fine-tuning: our loop, against TRL's SFTTrainer with the same rows, optimizer and schedule."""

from tempfile import TemporaryDirectory

import datasets
import torch
from trl import SFTConfig, SFTTrainer

from agentprm_dagster.config import Sft
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.lean_layers import product_dtype, use_lean_layers
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.launch.job import Job
from agentprm_dagster.training import sft
from agentprm_dagster.training.loop import WARMUP
from agentprm_dagster.training.optimizers import build_optimizer
from benchmarks.limits import matmul_flops, token_flops
from benchmarks.measure import Row, compare
from benchmarks.workload import noisy_rollouts, policy

SETTINGS = Sft(epochs=1, batch_episodes=8)


def run() -> list[Row]:
    """Tokens a second of one epoch over won episodes, one row an episode for both."""
    torch.set_num_threads(1)
    tokenizer = checkpoints.load_tokenizer(policy())
    won = [episode for episode in noisy_rollouts(40) if episode.won]
    rows = sft.sft_rows(won, Chat(tokenizer, WORDING))
    tokens = sum(len(row.ids) for row in rows)

    given = datasets.Dataset.from_list([{"input_ids": row.ids, "labels": row.labels} for row in rows])

    def ours() -> float:
        model = checkpoints.load_policy(policy())
        use_lean_layers(model)
        sft.fit(model, rows, SETTINGS, job=Job(seed=0))
        return tokens

    def theirs() -> float:
        model = checkpoints.load_policy(policy())
        with TemporaryDirectory() as folder:
            args = SFTConfig(
                output_dir=folder,
                num_train_epochs=SETTINGS.epochs,
                per_device_train_batch_size=SETTINGS.batch_episodes,
                lr_scheduler_type="cosine",
                warmup_steps=WARMUP,
                train_sampling_strategy="group_by_length",
                max_length=None,
                bf16=False,
                activation_checkpointing=False,
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
                use_cpu=True,
            )
            optimizer = build_optimizer(
                model, SETTINGS.optimizer, learning_rate=SETTINGS.learning_rate, weight_decay=SETTINGS.weight_decay
            )
            SFTTrainer(
                model=model,
                args=args,
                train_dataset=given,
                processing_class=tokenizer,
                optimizers=(optimizer, None),
            ).train()
        return tokens

    flops = 3 * token_flops(checkpoints.load_policy(policy()))
    limit = matmul_flops(product_dtype(), 1) / flops
    return [compare("training", "tokens/s", ours, theirs, limit=limit)]
