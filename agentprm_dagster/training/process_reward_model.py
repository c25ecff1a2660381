"""The process reward model Q(s, a), trained on Monte-Carlo targets (`algorithm.prm_loss`).

A standard sequence-classification checkpoint with one label, its head read at the end token of every answer, and again
where the environment's reply ends: one pass over an episode and its branches scores all their decisions.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pandas as pd

from agentprm_dagster.algorithm.hackability import Hacking
from agentprm_dagster.algorithm.targets import learnt_targets
from agentprm_dagster.config import Model, Prm
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.dialogue import Format, Wording
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.launch.device import computing
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.ranks import is_first
from agentprm_dagster.reports.chart.prm import draw_prm
from agentprm_dagster.reports.prm_report import prm_report
from agentprm_dagster.training.hackable import with_hackability_of
from agentprm_dagster.training.pretrained import pretrained_prm
from agentprm_dagster.training.prm_examples import loss_items, loss_terms, predict, prm_examples
from agentprm_dagster.training.saving import save_trained
from agentprm_dagster.training.tree_training import fit, tokens_in


def train_prm(
    policy: Path,
    episodes: Sequence[Episode],
    targets: pd.DataFrame,
    settings: Prm,
    wording: Wording,
    out: Path,
    *,
    dialogue: Format,
    max_loss: float,
    min_ordering: float,
    rank_by: Literal["answer", "reply"] = "answer",
    base: Model | None = None,
    previous: Path | None = None,
    hacking: Hacking | None = None,
    job: Job,
) -> StageReport:
    """Trains a PRM on the games that are not held out, writes it to `out`, and reports on those that are.

    It begins at the backbone of `policy`, or of the untuned model `base` where one is given, or is the PRM `previous`
    trained on. `max_loss`, `min_ordering` and `rank_by` are for the gates (`reports.prm_report`),
    and so is `hacking`: without it nobody asks what answers made to please it are worth.
    """
    tokenizer, dtype = checkpoints.load_tokenizer(policy), checkpoints.stored_dtype(policy)
    if previous:
        model = checkpoints.prm_to_train(previous)
    elif base:
        model = pretrained_prm(base, seed=job.seed)
    else:
        model = checkpoints.prm_from_policy(policy, seed=job.seed)
    chat = Chat(tokenizer, wording)
    examples = prm_examples(
        chat,
        episodes,
        targets,
        dialogue,
        branch_turns=1,  # what a branch was played for
        read_replies=settings.reply_weight > 0,
        whole_games=settings.loss == "relative",
    )
    held_out = targets["held_out"].to_numpy()
    train = [example for example in examples if not held_out[example.rows[0]]]
    if settings.loss == "relative":
        train = [example for example in train if example.pairs]
    test = [example for example in examples if held_out[example.rows[0]]]
    loss = fit(model, train, loss_terms, settings, job, items=loss_items, dtype=dtype)
    with computing(model, dtype):
        answer, reply = predict(model, test, settings.batch_tokens)
    save_trained(model, tokenizer, out, dtype)
    rows = [row for example in test for row in example.rows]
    scored = targets.iloc[rows].assign(logit=answer, reply_logit=reply)
    constant = float(learnt_targets(targets)[~targets["held_out"]].mean())
    if is_first():
        draw_prm(scored, {each.episode_id: each.won for each in episodes if each.parent is None}, out)
    report = prm_report(
        scored,
        constant=constant,
        train_loss=loss,
        max_loss=max_loss,
        min_ordering=min_ordering,
        rank_by=rank_by,
        relative_margin=settings.margin if settings.loss == "relative" else None,
    )
    trained = settings.epochs * tokens_in(train)
    if hacking:
        games = set(targets.loc[held_out, "game"])
        unknown = [each for each in episodes if each.game in games]
        with computing(model, dtype):
            report = with_hackability_of(
                report,
                model,
                chat,
                unknown,
                episodes,
                dialogue,
                hacking,
                budget=settings.batch_tokens,
                trained_tokens=trained,
                seed=job.seed,
            )
    tokens = trained + tokens_in(test)
    return replace(report, metrics={**report.metrics, "tokens": tokens})
