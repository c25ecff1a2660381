"""Policy improvement against the PRM (the paper's Eq. 3) by Online DPO with the last policy as reference.

At every step the current policy answers n times in each of some states (`branched_states`), the PRM ranks the answers
(`judging`), and the DPO loss draws the policy from the worst towards the best of each state (`improvement_loss`).
Sampling, scoring and the loss share the episode's tokens between all its states.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from agentprm_dagster.algorithm.improvement_loss import improvement_items, improvement_terms
from agentprm_dagster.algorithm.terms import Terms
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.adapters import frozen_copy, has_adapter
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.lean_layers import use_lean_layers
from agentprm_dagster.envs.base import DrawsHypotheses, EnvironmentKind, Task
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.improvement.branched_states import policy_prefixes
from agentprm_dagster.improvement.consequences import Consequences
from agentprm_dagster.improvement.dpo_settings import OnlineDpo
from agentprm_dagster.improvement.history import History
from agentprm_dagster.improvement.judging import ImplicitJudge, ImplicitReward, Judge, Judging
from agentprm_dagster.improvement.panel import Panel, Watched, build_panel
from agentprm_dagster.improvement.rationalisation import Rationalised
from agentprm_dagster.improvement.rationalised_answers import RationalisedAnswers
from agentprm_dagster.improvement.settings import WARMUP
from agentprm_dagster.improvement.steered_sampling import HYPOTHESIS_ROOM, SteeredSampler, WithHypothesis
from agentprm_dagster.launch.device import place, place_trained, training_threads
from agentprm_dagster.launch.gradients import gradients
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.pieces import Numbers, Piece, Work
from agentprm_dagster.launch.ranks import is_first
from agentprm_dagster.launch.sharding import whole
from agentprm_dagster.reports.chart.training import draw_training
from agentprm_dagster.reports.improvement_report import improvement_report, together
from agentprm_dagster.training.candidates import Candidate, CandidateSampler, CandidateTrees
from agentprm_dagster.training.loop import LOG_EVERY, Epochs, Plan, Training, step_seed
from agentprm_dagster.training.saving import save_trained
from agentprm_dagster.training.snapshots import Stateful


def improve_policy(
    policy: Path,
    reward: Path | ImplicitReward,
    episodes: Sequence[Episode],
    games: Mapping[str, Task],
    environment: EnvironmentKind,
    settings: OnlineDpo,
    out: Path,
    *,
    dialogue: Format,
    centred: bool,
    max_kl: float,
    watched: Watched | None = None,
    rationalised: Rationalised | None = None,
    job: Job,
) -> StageReport:
    """Improves the behaviour policy on the states of its own whole episodes and writes the checkpoint to `out`.

    Args:
        reward: the checkpoint of a reward model, or a policy that says as much.
        games: those that the episodes come from, by id; they are played where candidates are ranked by reply, and those
            of `watched` by the panel.
        centred: whether the reward model knows values up to what their state adds.
        max_kl: what the gate allows, in nats an answer.
        watched: what a panel measures on; None watches nothing.
        rationalised: answers that are learnt beside what is drawn.
    """
    tokenizer, dtype = checkpoints.load_tokenizer(policy), checkpoints.stored_dtype(policy)
    model = checkpoints.policy_to_train(policy)
    place(model, job.compute)
    reference = frozen_copy(model) if has_adapter(model) else checkpoints.load_policy(policy, dtype=dtype)
    critic = _critic(reward)
    chat = Chat(tokenizer, environment.wording)
    prefixes, panel = policy_prefixes(chat, episodes, dialogue), None
    with training_threads(model):
        for each in (model, reference, critic):
            use_grouped_attention(each)
            use_lean_layers(each)
            place(each, job.compute)
        reference.requires_grad_(False)
        place_trained(model, job.compute, dtype)
        consequences = Consequences(chat, games) if settings.rank_by == "reply" else None
        judge: Judging = Judge(critic.eval(), chat, consequences, centred=centred)
        if isinstance(reward, ImplicitReward):
            judge = ImplicitJudge(critic, reference, chat, reward.beta)
        if watched and isinstance(judge, Judge):
            panel = build_panel(model, reference, judge, watched, games, settings, dialogue=dialogue, job=job)
        with_hypothesis = environment.with_hypothesis if isinstance(environment, DrawsHypotheses) else None
        history = improve(
            *(model, reference, judge, chat, prefixes, settings, dialogue, rationalised, panel, with_hypothesis),
            job=job,
            dtype=dtype,
        )
    kept = panel.settle() if panel else None
    save_trained(model, tokenizer, out, dtype)
    planned = settings.steps if kept is None else len(history)
    if is_first():
        draw_training(history, out)
    report = improvement_report(history, planned=planned, max_kl=max_kl, kept=kept)
    return panel.added_to(report, kept, out) if panel else report


def _critic(reward: Path | ImplicitReward) -> PreTrainedModel:
    if isinstance(reward, ImplicitReward):
        return checkpoints.load_policy(reward.policy, dtype=checkpoints.stored_dtype(reward.policy))
    return checkpoints.load_prm(reward, dtype=checkpoints.stored_dtype(reward))


def improve(
    model: PreTrainedModel,
    reference: PreTrainedModel,
    judge: Judging,
    chat: Chat,
    prefixes: Sequence[EpisodeTokens],
    settings: OnlineDpo,
    dialogue: Format = "append",
    rationalised: Rationalised | None = None,
    panel: Panel | None = None,
    with_hypothesis: WithHypothesis | None = None,
    *,
    job: Job,
    dtype: torch.dtype = torch.float32,
) -> list[dict[str, float]]:
    """Trains in place, products in `dtype`; the numbers of every step. `reference` is the policy as it is before.

    A `panel` watches, and may stop it.
    """
    model.eval()  # no dropout: the log-probabilities compared are those of the policy that acts
    history = History()
    plan = Plan(settings.steps, settings.optimizer, settings.learning_rate, warmup_ratio=WARMUP)
    states: dict[str, Stateful] = {"history": history, **({"panel": panel} if panel else {})}
    training = Training(model, plan, job, states=states)
    size, per_prefix = _batch_size(settings, dialogue)
    batches = Epochs(lambda rng: _batches(prefixes, size, per_prefix, rng), job.seed)
    longest = max(prefix.states[-1] for prefix in prefixes)
    most = job.compute.micro_batch_tokens
    arguments = (reference, judge, chat, settings, longest, job.seed, dialogue, rationalised, with_hypothesis, most)

    def parts(step: int) -> list[tuple[int, list[EpisodeTokens]]]:
        batch, count = batches.batch(step), shards.count
        return [(step, list(part)) for shard in range(count) if (part := batch[shard::count])]

    tokens = settings.steps * size * longest
    with gradients(model, improvement_work, *arguments, tokens=tokens, dtype=dtype) as shards:
        if panel and not training.done:
            with whole(model):
                panel.watch(0)
        for done in training.steps(shards, parts, "policy updates"):
            numbers = together(done.numbers)
            history.append(numbers if done.loss is None else {**numbers, "loss": done.loss})
            if training.done % LOG_EVERY == 0:
                job.monitor.metrics(history[-1], training.done)
            if panel:
                with whole(model):
                    stopped = panel.watch(training.done)
                if stopped:
                    break
    return history


def improvement_work(
    model: PreTrainedModel,
    shard: int,
    reference: PreTrainedModel,
    judge: Judging,
    chat: Chat,
    settings: OnlineDpo,
    longest: int,
    seed: int,
    dialogue: Format = "append",
    rationalised: Rationalised | None = None,
    with_hypothesis: WithHypothesis | None = None,
    most: int | None = None,
) -> Work:
    """From (step, prefixes) to what is learnt of the answers that the model, as it is then, gives in them.

    In pieces of at most so many padded tokens.

    Raises:
        ValueError: the settings ask for steered states, and nobody draws hypotheses.
    """
    steered = settings.steered > 0
    if steered and with_hypothesis is None:
        raise ValueError("improvement.steered asks for hypotheses, and this environment draws none: set it to 0")
    rows, states = _batch_size(settings, dialogue)
    sampler = CandidateSampler(
        model,
        chat,
        longest=longest + HYPOTHESIS_ROOM * steered,
        rows=rows * (1 + steered),
        states=states,
        n=settings.candidates,
        new=settings.max_new_tokens,
    )
    banned = chat.never_drawn(model.config.vocab_size)
    steering = None
    if steered and with_hypothesis is not None:
        steering = SteeredSampler(sampler, with_hypothesis, share=settings.steered, dialogue=dialogue)

    def draw(prefixes: list[EpisodeTokens], step: int) -> tuple[list[Candidate], list[EpisodeTokens]]:
        how: dict[str, Any] = {"temperature": settings.temperature, "seed": step_seed(seed, step)}
        return steering.draw(prefixes, **how) if steering else (sampler.draw(prefixes, **how), prefixes)

    known = rationalised and RationalisedAnswers(rationalised, settings.rationalised_weight)

    def work(part: tuple[int, list[EpisodeTokens]]) -> list[Piece]:
        step, prefixes = part
        model.eval()  # with its activations being recomputed it would write no cache
        candidates, read = draw(prefixes, step)
        sampled = _tokens_sampled(read, candidates)
        pieces = []
        for some in _pieces(prefixes, candidates, most):
            judged = judge.values(*some, trees := CandidateTrees(*some))
            piece = improvement_piece(model, reference, trees, judged, settings, banned=banned, sampled=sampled)
            pieces.append(known.added(piece, model, chat, some[0]) if known else piece)
            sampled = 0
        return pieces

    return work


Drawn = tuple[list[EpisodeTokens], list[Candidate]]
"""Prefixes, and what was drawn in their states."""


def _pieces(prefixes: list[EpisodeTokens], candidates: list[Candidate], most: int | None) -> Iterator[Drawn]:
    """Some prefixes with their candidates after others, at most so many padded tokens together, or one prefix."""
    if most is None:
        yield prefixes, candidates
        return
    lengths = [len(prefix.prompt) for prefix in prefixes]
    for candidate in candidates:
        lengths[candidate.state[0]] += len(candidate.ids)
    order = sorted(range(len(prefixes)), key=lambda i: -lengths[i])
    while order:
        count = max(most // lengths[order[0]], 1)
        some, order = order[:count], order[count:]
        place_of = {prefix: place for place, prefix in enumerate(some)}
        yield (
            [prefixes[i] for i in some],
            [
                replace(each, state=(place_of[each.state[0]], each.state[1]))
                for each in candidates
                if each.state[0] in place_of
            ],
        )


def improvement_piece(
    model: PreTrainedModel,
    reference: PreTrainedModel,
    trees: CandidateTrees,
    judged: tuple[torch.Tensor, int],
    settings: OnlineDpo,
    *,
    banned: Sequence[int],
    sampled: int,
) -> Piece:
    """Candidates and what the PRM says of them (`Judge.values`), for which `sampled` tokens were read and drawn."""
    values, tokens = judged

    def read() -> tuple[Terms, Numbers]:
        model.train(model.is_activation_checkpointing)
        terms, numbers = terms_of(model, reference, trees, values, settings, banned=banned)
        # Policy and reference read the trees, the PRM what it judges by.
        read = float(sampled + 2 * trees.tokens_read + tokens)
        return terms, {**numbers, "tokens": read, "trained_tokens": float(trees.tokens_read)}

    how = settings.model_dump(include={"labels", "min_gap"})
    return Piece(read, improvement_items(trees.answers, values, **how))


def terms_of(
    model: PreTrainedModel,
    reference: PreTrainedModel,
    trees: CandidateTrees,
    values: torch.Tensor,
    settings: OnlineDpo,
    *,
    banned: Sequence[int] = (),
) -> tuple[Terms, Numbers]:
    """`improvement_terms` of candidates that were drawn as the settings say, with their values (C,)."""
    compared = trees.compared(model, reference, temperature=settings.temperature, banned=banned)
    how = settings.model_dump(include={"labels", "beta", "kl_weight", "min_gap"})
    return improvement_terms(trees.answers, compared, values, **how)


def _batch_size(settings: OnlineDpo, dialogue: Format) -> tuple[int, int]:
    """Prefixes of a step, an episode's or one state's where turns restate the history, and most states of each."""
    if dialogue == "restated":
        return settings.most_states_per_step, 1
    return settings.episodes_per_step, settings.states_per_episode


def _tokens_sampled(prefixes: Sequence[EpisodeTokens], candidates: Sequence[Candidate]) -> int:
    """Tokens that sampling read and drew."""
    return sum(prefix.states[-1] for prefix in prefixes) + sum(len(each.ids) * each.draws for each in candidates)


def _batches(
    prefixes: Sequence[EpisodeTokens], size: int, states: int, rng: random.Random
) -> list[list[EpisodeTokens]]:
    """Every prefix once, `size` of them together, with at most so many of its states."""
    shuffled = rng.sample(prefixes, len(prefixes))
    return [
        [_some_states(prefix, states, rng) for prefix in shuffled[first : first + size]]
        for first in range(0, len(shuffled), size)
    ]


def _some_states(prefix: EpisodeTokens, count: int, rng: random.Random) -> EpisodeTokens:
    return prefix.only(sorted(rng.sample(range(len(prefix.states)), min(count, len(prefix.states)))))
