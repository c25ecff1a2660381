"""Policy improvement by TRL's own OnlineDPOTrainer (`improvement.kind: trl`).

The same loss on the same pairs as `online_dpo`, which shares an episode between its states and answers. Here
every answer's whole conversation is read for itself, by `generate`, the PRM, the policy and its reference. TRL draws
two answers a state and trains on ties as well. It takes conversations as text: answers before the present one are
encoded anew, whatever ids were drawn.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel
from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.architectures import context_of, require_relative_positions
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.dialogue import Format, Wording
from agentprm_dagster.episodes.parsing import may_be_chosen
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Monitor, StageReport
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.improvement.branched_states import policy_prefixes
from agentprm_dagster.improvement.monitoring import watch
from agentprm_dagster.improvement.settings import WARMUP, AgainstReward
from agentprm_dagster.launch.device import training_threads
from agentprm_dagster.launch.job import Job
from agentprm_dagster.reports.chart.training import draw_training
from agentprm_dagster.reports.improvement_report import improvement_report
from agentprm_dagster.training.optimizers import build_optimizer

Reward = Callable[..., list[float]]


def improve_with_trl(
    policy: Path,
    prm: Path,
    episodes: Sequence[Episode],
    wording: Wording,
    settings: AgainstReward,
    out: Path,
    *,
    dialogue: Format,
    max_kl: float,
    job: Job,
) -> StageReport:
    """Improves the behaviour policy on the states of its own whole episodes and writes the checkpoint to `out`.

    `max_kl` is what the gate allows, in nats an answer.
    """
    tokenizer = checkpoints.load_tokenizer(policy)
    model, critic = checkpoints.load_policy(policy), checkpoints.load_prm(prm)
    chat = Chat(tokenizer, wording)
    prefixes = policy_prefixes(chat, episodes, dialogue)
    with training_threads(model):
        history = train_with_trl(model, critic, chat, prefixes, dialogue, settings, seed=job.seed, monitor=job.monitor)
    checkpoints.save(model, tokenizer, out, checkpoints.stored_dtype(policy))
    draw_training(history, out)
    return improvement_report(history, planned=settings.steps, max_kl=max_kl)


def train_with_trl(
    model: PreTrainedModel,
    prm: PreTrainedModel,
    chat: Chat,
    prefixes: Sequence[EpisodeTokens],
    dialogue: Format,
    settings: AgainstReward,
    *,
    seed: int,
    monitor: Monitor,
) -> list[dict[str, float]]:
    """Trains in place on the prefixes' states; the numbers of every step, named as those of `online_dpo`."""
    with TemporaryDirectory() as folder:
        trainer = build_trainer(model, prm, chat, prompts(chat, prefixes, dialogue), settings, seed=seed, folder=folder)
        history = _History(settings, monitor)
        watch(trainer, history)
        trainer.train()
    return history.steps


def build_trainer(
    model: PreTrainedModel,
    prm: PreTrainedModel,
    chat: Chat,
    states: Sequence[str],
    settings: AgainstReward,
    *,
    seed: int,
    folder: str,
) -> OnlineDPOTrainer:
    """TRL's trainer with the PRM as its reward; the reference is the model as it is now.

    Raises:
        ArchitectureError: the model counts positions from the padding, which TRL puts before a state.
    """
    require_relative_positions(model.config)
    args = OnlineDPOConfig(
        output_dir=folder,
        max_steps=settings.steps,
        per_device_train_batch_size=settings.most_states_per_step,
        beta=[settings.beta],
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens,
        max_length=context_of(model.config),
        generation_kwargs={"suppress_tokens": chat.never_drawn(model.config.vocab_size)},
        lr_scheduler_type="cosine",
        warmup_steps=WARMUP,
        max_grad_norm=1.0,
        gradient_checkpointing=False,
        bf16=False,
        seed=seed,
        logging_steps=1,
        logging_nan_inf_filter=False,  # which would call a loss of NaN 0, and hide it from the gate
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )
    return OnlineDPOTrainer(
        model=model,
        reward_funcs=prm_reward(prm.eval(), chat),
        args=args,
        train_dataset=datasets.Dataset.from_list([{"prompt": state} for state in states]),
        processing_class=chat.closing_tokenizer(),
        optimizers=(build_optimizer(model, settings.optimizer, learning_rate=settings.learning_rate), None),
    )


def prompts(chat: Chat, prefixes: Sequence[EpisodeTokens], dialogue: Format) -> list[str]:
    """The text of every state, up to where the answer begins."""
    states = [(prefix.episode, t) for prefix in prefixes for t in prefix.turns]
    return [
        chat.text(chat.wording.state(each.first_observation, each.turns[:t], dialogue, each.turns[t].candidates))
        for each, t in states
    ]


def prm_reward(prm: PreTrainedModel, chat: Chat) -> Reward:
    """The PRM's value, in [0, 1], at the end of an answer; 0 where the answer may not be chosen."""

    @torch.no_grad()
    def reward(prompts: Sequence[str], completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float]:
        answers = [_until_end(ids, chat) for ids in completion_ids]
        read = [
            torch.tensor([*chat.encode(prompt), *ids, chat.end]) for prompt, ids in zip(prompts, answers, strict=True)
        ]
        last = torch.tensor([len(ids) - 1 for ids in read])
        # Padded at the ends, where no real token looks.
        hidden = prm.base_model(input_ids=pad_sequence(read, batch_first=True), use_cache=False).last_hidden_state
        values = prm.score(hidden[torch.arange(len(read)), last]).squeeze(-1).sigmoid().tolist()
        ended = [chat.end in ids for ids in completion_ids]
        allowed = [
            may_be_chosen(chat.drawn(ids, cut=not has_ended)) for ids, has_ended in zip(answers, ended, strict=True)
        ]
        return [value if is_allowed else 0.0 for value, is_allowed in zip(values, allowed, strict=True)]

    return reward


def _until_end(ids: Sequence[int], chat: Chat) -> list[int]:
    """An answer's tokens, without its end token and the padding behind it."""
    answer = list(ids)
    return answer[: answer.index(chat.end)] if chat.end in answer else answer


class _History:
    """A monitor that keeps what TRL logs of every step, in our names, and passes all on to another."""

    def __init__(self, settings: AgainstReward, monitor: Monitor) -> None:
        self._settings, self._monitor = settings, monitor
        self.steps: list[dict[str, float]] = []

    def progress(self, done: int, total: int, what: str) -> None:
        """Passed on."""
        self._monitor.progress(done, total, what)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Kept where it is a step's, and passed on."""
        self._monitor.metrics(values, step)
        if "objective/scores" not in values:
            return
        self.steps.append(
            {
                "value": values["objective/scores"],
                # TRL's own "objective/kl" counts padding too; these are sums over the answers' tokens. TRL tells no
                # more of the answers: drawn at another temperature than 1, they give the KL only roughly.
                "kl": (values["rewards/chosen"] + values["rewards/rejected"]) / (2 * self._settings.beta),
                "states_with_pair": 1.0,
                "pairs": float(self._settings.most_states_per_step),
                "loss": values["loss"],
                "pair_accuracy": values["rewards/accuracies"],
                "gap": values["objective/scores_margin"],
            }
        )
