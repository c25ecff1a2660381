"""Policy improvement against the PRM (the paper's Eq. 3) by Online DPO with the last policy as reference.

At every step the current policy answers n times in each of some states, the PRM ranks the answers, and the DPO loss
draws the policy from the worst towards the best of each state. Answers that are equal, or whose values the PRM does not
tell apart, are not trained on. The states are those that rollouts branched from: of the states tried, those where the
policy gave different answers. Only a few states of a step yield a pair, and what they
teach must not disturb all else, so that the KL term of Eq. 3 is also there in full, over every token drawn.

A hard label pushes two answers apart for ever, however little the PRM tells them apart, and what it does not know
becomes what the policy does. Soft labels are the preference that the PRM's logits stand for as rewards (Bradley-Terry);
then the DPO loss is least at pi_(i-1) exp(logit Q / beta), the optimum of Eq. 3 with logit Q for Q.

Sampling, scoring and the loss share the episode's tokens between all its states.
"""

import copy
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import torch
from torch.nn.functional import logsigmoid
from transformers import PreTrainedModel, get_cosine_schedule_with_warmup

from agentprm_dagster.config import Experiment, Improvement
from agentprm_dagster.core.improvement_report import COUNTS, improvement_report
from agentprm_dagster.core.parsing import parse_answer
from agentprm_dagster.core.rollout import Playable
from agentprm_dagster.core.stage import Monitor, StageReport
from agentprm_dagster.core.types import Episode
from agentprm_dagster.models import checkpoints
from agentprm_dagster.models.attention import use_grouped_attention
from agentprm_dagster.models.chat import Chat
from agentprm_dagster.models.lean_layers import use_lean_layers
from agentprm_dagster.training.candidates import Candidate, CandidateSampler, CandidateTrees, Trunk, trunks_of
from agentprm_dagster.training.consequences import Consequences
from agentprm_dagster.training.optimizers import build_optimizer
from agentprm_dagster.training.shards import Numbers, Shards, Work, shards_of
from agentprm_dagster.training.threads import training_threads

VALUE_RANGE = (0.01, 0.99)
"""Values are clamped to it before their logits are compared: a PRM does not know them better than that."""


def improve_policy(
    policy: Path,
    prm: Path,
    episodes: Sequence[Episode],
    games: Mapping[str, Playable],
    experiment: Experiment,
    out: Path,
    *,
    seed: int,
    monitor: Monitor,
) -> StageReport:
    """Improves the behaviour policy on the states of its own whole episodes and writes the checkpoint to `out`.

    `games` are those that the episodes come from, by id; they are only played where candidates are ranked by reply.
    """
    tokenizer = checkpoints.load_tokenizer(policy)
    model, critic = checkpoints.load_policy(policy), checkpoints.load_prm(prm)
    chat, settings, dialogue = Chat(tokenizer), experiment.improvement, experiment.dialogue.format
    contested = contested_states(episodes)
    trunks = [trunk for episode, turns in contested for trunk in trunks_of(chat, episode, turns, dialogue)]
    with training_threads(model):
        if settings.trainer == "trl":
            from agentprm_dagster.training.trl_online_dpo import train_with_trl  # warns that it is experimental

            history = train_with_trl(model, critic, chat, trunks, dialogue, settings, seed=seed, monitor=monitor)
        else:
            for each in (model, critic):
                use_grouped_attention(each)
                use_lean_layers(each)
            consequences = Consequences(chat, games) if settings.rank_by == "reply" else None
            judge = Judge(critic.eval(), chat, consequences, centred=_says_no_more_than_order(experiment))
            history = list(policy_steps(model, judge, chat, trunks, settings, seed=seed, monitor=monitor))
    checkpoints.save(model, tokenizer, out)
    return improvement_report(history, planned=settings.steps, max_kl=experiment.gates.max_kl)


def _says_no_more_than_order(experiment: Experiment) -> bool:
    """Whether the reward model knows values up to what their state adds."""
    return experiment.improvement.reward == "inverse_prm" or experiment.prm.loss == "relative"


def contested_states(episodes: Sequence[Episode]) -> list[tuple[Episode, list[int]]]:
    """Whole episodes with the turns that branches start at; with all their turns where nothing was branched."""
    starts: dict[str, set[int]] = defaultdict(set)
    for episode in episodes:
        if episode.parent:
            starts[episode.parent].add(episode.start)
    whole = [episode for episode in episodes if episode.parent is None and episode.turns]
    if not starts:
        return [(episode, list(range(len(episode.turns)))) for episode in whole]
    return [(episode, sorted(starts[episode.episode_id])) for episode in whole if starts[episode.episode_id]]


@dataclass(frozen=True, slots=True)
class Judge:
    """The PRM as it ranks candidates: by Q(s, a), or behind the environment's reply to each."""

    prm: PreTrainedModel
    chat: Chat
    consequences: Consequences | None = None
    centred: bool = False
    """Whether an answer's value is told beside the other answers in its state, as the PRM says no more: InversePRM,
    and one that was trained on pairs."""

    @torch.no_grad()
    def values(self, trunks: Sequence[Trunk], candidates: Sequence[Candidate], trees: CandidateTrees) -> torch.Tensor:
        """The value of every candidate (C,), in [0, 1]; `trees` are those of the trunks and candidates.

        An answer that is not in the agreed form is worth nothing: rollouts never branch into one, so that the PRM has
        not learnt it.
        """
        parsed = torch.tensor([parse_answer(self.chat.decode(candidate.ids[:-1])).parsed for candidate in candidates])
        return torch.where(parsed, self._read(trunks, candidates, trees), 0.0)

    def _read(self, trunks: Sequence[Trunk], candidates: Sequence[Candidate], trees: CandidateTrees) -> torch.Tensor:
        replied = self.consequences and self.consequences.of(trunks, candidates)
        logits = (CandidateTrees(trunks, replied.candidates) if replied else trees).values(self.prm)
        values = (advantages(logits, candidates) if self.centred else logits).sigmoid()
        return torch.where(torch.tensor(replied.won), torch.ones_like(values), values) if replied else values


def advantages(logits: torch.Tensor, candidates: Sequence[Candidate]) -> torch.Tensor:
    """Q(s, a) minus its mean over what the policy answers in s, of every candidate (C,)."""
    numbers = {state: i for i, state in enumerate(dict.fromkeys(candidate.state for candidate in candidates))}
    states = torch.tensor([numbers[candidate.state] for candidate in candidates], device=logits.device)
    draws = logits.new_tensor([candidate.draws for candidate in candidates])
    sums = logits.new_zeros(2, len(numbers)).index_add(1, states, torch.stack([draws * logits, draws]))
    return logits - (sums[0] / sums[1])[states]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two different answers in one state, by their place among the candidates."""

    better: int
    worse: int


def ranked_pairs(
    candidates: Sequence[Candidate], values: Sequence[float], min_gap: float, *, extremes: bool = True
) -> list[Pair]:
    """Pairs of answers of one state whose values differ by at least `min_gap`: its best and worst, or all."""
    by_state: dict[tuple[int, int], list[int]] = {}
    for i, candidate in enumerate(candidates):
        by_state.setdefault(candidate.state, []).append(i)
    pairs = []
    for members in by_state.values():
        ranked = sorted(members, key=lambda i: -values[i])
        tried = [(ranked[0], ranked[-1])] if extremes else combinations(ranked, 2)
        pairs += [Pair(a, b) for a, b in tried if values[a] > values[b] and values[a] - values[b] >= min_gap]
    return pairs


def dpo_loss(log_ratio_better: torch.Tensor, log_ratio_worse: torch.Tensor, beta: float) -> torch.Tensor:
    """TRL's sigmoid DPO loss of each pair: -log sigma(beta (log pi/ref(better) - log pi/ref(worse)))."""
    return -logsigmoid(beta * (log_ratio_better - log_ratio_worse))


def soft_dpo_loss(
    log_ratio_better: torch.Tensor, log_ratio_worse: torch.Tensor, beta: float, preference: torch.Tensor
) -> torch.Tensor:
    """The DPO loss (P,), in nats, expected where each pair's better answer wins with probability `preference` (P,).

    Least where beta times the difference of the log-ratios (P,) is logit(preference); at 1 it is `dpo_loss`. It is
    conservative DPO, TRL's `label_smoothing`, with a smoothing of 1 - preference for each pair.
    """
    won = dpo_loss(log_ratio_better, log_ratio_worse, beta)
    lost = dpo_loss(log_ratio_worse, log_ratio_better, beta)
    return preference * won + (1 - preference) * lost


def preferences(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
    """Bradley-Terry probability (P,) that `better` wins, values in [0, 1] (P,), with the values' logits as rewards."""
    reward = torch.stack([better, worse]).clamp(*VALUE_RANGE).logit()
    return (reward[0] - reward[1]).sigmoid()


def policy_steps(
    model: PreTrainedModel,
    judge: Judge,
    chat: Chat,
    trunks: Sequence[Trunk],
    settings: Improvement,
    *,
    seed: int,
    monitor: Monitor,
) -> Iterator[dict[str, float]]:
    """Trains in place; the numbers of every step."""
    model.eval()  # no dropout: the log-probabilities compared are those of the policy that acts
    reference = copy.deepcopy(model).requires_grad_(False)
    optimizer = build_optimizer(model, settings.optimizer, learning_rate=settings.learning_rate)
    warmup = round(settings.warmup_ratio * settings.steps)
    schedule = get_cosine_schedule_with_warmup(optimizer, warmup, settings.steps)
    batches = _batches(trunks, settings, random.Random(seed))
    count, longest = shards_of(model), max(len(trunk.ids) for trunk in trunks)
    arguments = (reference, judge, chat, settings, longest, seed)
    planned = settings.steps * _rows(settings) * longest
    with Shards(model, improvement_work, *arguments, tokens=planned) as shards:
        for step in range(settings.steps):
            batch = next(batches)
            parts = [part for shard in range(count) if (part := batch[shard::count])]
            numbers = _together(shards.backward(parts))
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            monitor.progress(step + 1, settings.steps, "policy updates")
            if step % 10 == 9:
                monitor.metrics(numbers, step + 1)
            yield numbers


def improvement_work(
    model: PreTrainedModel,
    shard: int,
    reference: PreTrainedModel,
    judge: Judge,
    chat: Chat,
    settings: Improvement,
    longest: int,
    seed: int,
) -> Work:
    """From trunks to the loss of the answers that the model, as it is then, gives in their states."""
    sampler = CandidateSampler(
        model,
        chat,
        longest=longest,
        rows=_rows(settings),
        states=settings.states_per_episode,
        n=settings.candidates,
        new=settings.max_new_tokens,
    )
    generator = torch.Generator().manual_seed(seed + shard)

    def work(trunks: list[Trunk]) -> tuple[torch.Tensor | None, Numbers]:
        candidates = sampler.draw(trunks, temperature=settings.temperature, generator=generator)
        trees = CandidateTrees(trunks, candidates)
        values = judge.values(trunks, candidates, trees)
        loss, numbers = improvement_loss(model, reference, trees, candidates, values, settings)
        return loss, {**numbers, "tokens": float(_tokens_read(trunks, candidates, trees))}

    return work


def _together(shards: Sequence[Numbers]) -> Numbers:
    """A step's numbers: what is counted is added up, all else averaged."""
    sums = {name: sum(said[name] for said in shards) for name in shards[0]}
    return {name: value if name in COUNTS else value / len(shards) for name, value in sums.items()}


def _rows(settings: Improvement) -> int:
    """Episodes of a step."""
    return max(settings.states_per_step // settings.states_per_episode, 1)


def _tokens_read(trunks: Sequence[Trunk], candidates: Sequence[Candidate], trees: CandidateTrees) -> int:
    """Tokens of one step: those sampling read and drew, and the trees, which policy, reference and PRM read."""
    sampled = sum(len(trunk.ids) for trunk in trunks) + sum(len(each.ids) * each.draws for each in candidates)
    return sampled + 3 * sum(map(len, trees.trees))


def _batches(trunks: Sequence[Trunk], settings: Improvement, rng: random.Random) -> Iterator[list[Trunk]]:
    """For ever: a few states each of several episodes, all episodes once before any twice."""
    size = _rows(settings)
    while True:
        shuffled = rng.sample(trunks, len(trunks))
        for first in range(0, len(shuffled), size):
            yield [_some_states(trunk, settings.states_per_episode, rng) for trunk in shuffled[first : first + size]]


def _some_states(trunk: Trunk, count: int, rng: random.Random) -> Trunk:
    chosen = sorted(rng.sample(range(len(trunk.states)), min(count, len(trunk.states))))
    states = [trunk.states[i] for i in chosen]
    return Trunk(trunk.ids[: states[-1]], states, trunk.episode, [trunk.turns[i] for i in chosen])


def improvement_loss(
    model: PreTrainedModel,
    reference: PreTrainedModel,
    trees: CandidateTrees,
    candidates: Sequence[Candidate],
    values: torch.Tensor,
    settings: Improvement,
) -> tuple[torch.Tensor | None, Numbers]:
    """The loss, None without any pair, and what is to be watched: pairs, values, and how far the policy has gone."""
    with torch.no_grad():
        reference_tokens = trees.token_log_probabilities(reference)
    tokens = trees.token_log_probabilities(model)
    ratio = trees.answer_sums(trees.drawn(tokens) - trees.drawn(reference_tokens))
    draws = torch.tensor([float(candidate.draws) for candidate in candidates])
    kl = (draws * trees.answer_sums(kl_divergence(tokens, reference_tokens))).sum() / draws.sum()
    pairs = ranked_pairs(candidates, values.tolist(), settings.min_gap, extremes=settings.labels == "hard")
    states = len({candidate.state for candidate in candidates})
    numbers = {
        "value": float((draws * values).sum() / draws.sum()),
        "kl": float(kl.detach()),
        "states": float(states),
        "states_with_pair": len({candidates[pair.better].state for pair in pairs}) / states,
        "pairs": float(len(pairs)),
    }
    if not pairs:
        # At the reference the KL term alone is rounding noise, which Adam would blow up to whole steps.
        return None, {**numbers, "loss": 0.0, "pair_accuracy": 0.0, "gap": 0.0}
    better = torch.tensor([pair.better for pair in pairs])
    worse = torch.tensor([pair.worse for pair in pairs])
    gap = values[better] - values[worse]
    preference = weight = torch.ones_like(gap)
    if settings.labels == "soft":
        # As often as a pair of draws is this pair of answers: what is rarely said hardly matters.
        preference, weight = preferences(values[better], values[worse]), draws[better] * draws[worse]
    dpo = (weight * soft_dpo_loss(ratio[better], ratio[worse], settings.beta, preference)).sum() / weight.sum()
    likelihood = trees.answer_sums(trees.drawn(tokens))[better].mean()
    loss = dpo + settings.kl_weight * kl - settings.sft_weight * likelihood
    return loss, {
        **numbers,
        "loss": float(loss.detach()),
        "pair_accuracy": float((ratio[better] > ratio[worse]).float().mean()),
        "gap": float(gap.mean()),
    }


def kl_divergence(log_p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """KL(p || q) of categorical distributions given by log-probabilities (..., V), in nats (...)."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)
