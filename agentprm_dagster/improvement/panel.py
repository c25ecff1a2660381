"""A small panel of held-out games and states on which a policy is measured while it is improved."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from transformers import PreTrainedModel

from agentprm_dagster.agents.policy import Policy
from agentprm_dagster.algorithm.answer_kl import answer_kl
from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.config import Rollouts
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.engine import EmbeddedEngine
from agentprm_dagster.envs.base import Task
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import SilentMonitor, StageReport
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.improvement.branched_states import policy_prefixes, some_states
from agentprm_dagster.improvement.dpo_settings import OnlineDpo
from agentprm_dagster.improvement.judging import Judge, advantages
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.ranks import is_first
from agentprm_dagster.reports.chart.training import draw_panel
from agentprm_dagster.reports.overoptimization import (
    LIMITS,
    MEASUREMENTS,
    PICTURE,
    Measurement,
    panel_metrics,
    panel_page,
    to_go_back_to,
    tripped,
)
from agentprm_dagster.rollouts.collect import whole_episodes
from agentprm_dagster.rollouts.rollout import play
from agentprm_dagster.training.candidates import READ_TOGETHER, CandidateSampler, CandidateTrees
from agentprm_dagster.training.prm_examples import predict, prm_examples

STATES = 200
"""About how many held-out states answers are drawn in: whole episodes' states, until there are so many."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What a panel measures a policy on, and how."""

    episodes: Sequence[Episode]
    """Rollouts of games that the PRM was not fitted on; no step trains on them."""
    committee: Sequence[Path]
    """PRMs trained on disjoint games."""
    rollouts: Rollouts
    """How games are played; `games`, `per_game` and branches are not read here."""
    gamma: float
    """Discount of the returns that the PRM was fitted on."""
    batch_tokens: int
    """Padded tokens that the PRM reads at once."""


class Panel:
    """Measures a policy every so many steps, remembers it, and says when to stop."""

    def __init__(
        self,
        model: PreTrainedModel,
        reference: PreTrainedModel,
        judge: Judge,
        committee: Sequence[PreTrainedModel],
        games: Sequence[Task],
        prefixes: Sequence[EpisodeTokens],
        watched: Watched,
        settings: OnlineDpo,
        *,
        dialogue: Format,
        job: Job,
    ) -> None:
        """`games` and `prefixes` are of games that neither the PRM nor the steps are trained on."""
        self.model, self.reference, self.judge, self.committee = model, reference, judge, committee
        self.games, self.prefixes, self.watched = games, prefixes, watched
        self.drawing, self.settings, self.dialogue = settings, settings.panel, dialogue
        self.seed, self.monitor = job.seed, job.monitor
        self.history: list[Measurement] = []
        self.stopped = False
        self._kept: tuple[Measurement, dict[str, torch.Tensor]] | None = None

    def state_dict(self) -> dict[str, Any]:
        """What it has measured so far, and the weights that it would go back to."""
        kept = {"measured": asdict(self._kept[0]), "weights": self._kept[1]} if self._kept else None
        return {"history": [asdict(each) for each in self.history], "kept": kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from what `state_dict` answered."""
        self.history = [Measurement(**each) for each in state_dict["history"]]
        kept = state_dict["kept"]
        self._kept = (Measurement(**kept["measured"]), kept["weights"]) if kept else None

    def watch(self, step: int) -> bool:
        """Measures where it is time to; whether the improvement is to stop here."""
        if step % self.settings.every:
            return False
        self.history.append(self._measure(step))
        signal = self.settings.tripwire
        self.monitor.metrics({f"panel_{k}": v for k, v in _numbers(self.history[-1]).items()}, step)
        if signal == "none":
            return False
        limit = LIMITS[signal] if self.settings.limit is None else self.settings.limit
        self.stopped = tripped(self.history, signal, limit)
        if not self.stopped and (signal != "success" or to_go_back_to(self.history, signal) == len(self.history) - 1):
            trained = ((name, each) for name, each in self.model.named_parameters() if each.requires_grad)
            weights = {name: each.detach().clone() for name, each in trained}
            self._kept = (self.history[-1], weights)
        return self.stopped

    def settle(self) -> Measurement | None:
        """Where it stopped the improvement, takes the policy back; what it had measured of it there."""
        if not self.stopped or self._kept is None:
            return None
        measured, weights = self._kept
        self.model.load_state_dict(weights, strict=False)  # the rest has stayed as it is
        return measured

    def added_to(self, report: StageReport, kept: Measurement | None, out: Path) -> StageReport:
        """The report with what was measured, which is also written and drawn beside the checkpoint in `out`."""
        measured = [asdict(each) for each in self.history]
        if is_first():
            (out / MEASUREMENTS).write_text(json.dumps(measured, indent=2), encoding="utf-8")
            draw_panel(measured, out / PICTURE)
        went_back = {} if kept is None else {"kept_step": float(kept.step)}
        metrics = {**report.metrics, **panel_metrics(self.history), **went_back}
        return replace(report, metrics=metrics, preview=report.preview + panel_page(self.history, PICTURE))

    def _measure(self, step: int) -> Measurement:
        episodes = self._play()
        turns = [turn for episode in episodes for turn in episode.turns]
        value, kl, disagreement = self._draw()
        return Measurement(
            step=step,
            success=fmean(episode.won for episode in episodes),
            games=len(episodes),
            value=value,
            kl=kl,
            validity=fmean(turn.admissible for turn in turns),
            calibration=None if self.judge.centred else self._calibration(episodes),
            disagreement=disagreement if self.committee else None,
        )

    def _play(self) -> list[Episode]:
        rollouts = self.watched.rollouts
        slots = min(rollouts.slots, len(self.games))
        agent = Policy(
            EmbeddedEngine(self.model, conversations=slots),
            self.judge.chat,
            dialogue=self.dialogue,
            slots=slots,
            temperature=rollouts.temperature,
            max_new_tokens=rollouts.max_new_tokens,
            seed=self.seed,
        )
        return play(
            agent,
            whole_episodes(self.games, 1),
            max_steps=rollouts.max_steps,
            total=len(self.games),
            patience=rollouts.patience,
            keep_candidates=self.dialogue == "restated",
            monitor=SilentMonitor(),
        )

    @torch.no_grad()
    def _calibration(self, episodes: Sequence[Episode]) -> float:
        targets = mc_value_targets(episodes, gamma=self.watched.gamma, held_out_games=0, seed=0)
        examples = prm_examples(self.judge.chat, episodes, targets, self.dialogue, branch_turns=1, read_replies=False)
        logits, _ = predict(self.judge.prm, examples, self.watched.batch_tokens)
        return float(torch.tensor(logits).sigmoid().mean()) - float(targets["q"].mean())

    @torch.no_grad()
    def _draw(self) -> tuple[float, float, float]:
        """Mean value and KL of answers drawn in the held-out states, and how much the committee disagrees on them."""
        settings = self.drawing
        how = {"n": settings.candidates, "new": settings.max_new_tokens}
        sampler = CandidateSampler.of_any(self.prefixes, self.model, self.judge.chat, **how)
        banned = self.judge.chat.never_drawn(self.model.config.vocab_size)
        sums = torch.zeros(4, dtype=torch.float64)
        for first in range(0, len(self.prefixes), READ_TOGETHER):
            prefixes = self.prefixes[first : first + READ_TOGETHER]
            candidates = sampler.draw(prefixes, temperature=settings.temperature, seed=self.seed)
            trees = CandidateTrees(prefixes, candidates)
            draws = trees.answers.draws
            compared = trees.compared(self.model, self.reference, temperature=settings.temperature, banned=banned)
            kl = answer_kl(trees.answers, compared)
            spread = torch.zeros_like(draws)
            if self.committee:
                by_member = [advantages(trees.values(member), trees.answers) for member in self.committee]
                spread = torch.stack(by_member).std(0)
            values, _ = self.judge.values(prefixes, candidates, trees)
            sums += torch.stack([(draws * each).sum() for each in (values, kl, spread, torch.ones_like(draws))])
        value, kl_mean, disagreement = (sums[:3] / sums[3]).tolist()
        return value, kl_mean, disagreement


def build_panel(
    model: PreTrainedModel,
    reference: PreTrainedModel,
    judge: Judge,
    watched: Watched,
    games: Mapping[str, Task],
    settings: OnlineDpo,
    *,
    dialogue: Format,
    job: Job,
) -> Panel:
    """A panel of some of the watched episodes' games, and of their states branched from; `games` holds them by id."""
    panel, rng = settings.panel, random.Random(job.seed)
    committee = [checkpoints.load_prm(path, dtype=checkpoints.stored_dtype(path)).eval() for path in watched.committee]
    for each in committee:
        use_grouped_attention(each)
        each.to(model.device)
    known = sorted({episode.game for episode in watched.episodes})
    played = [games[game] for game in rng.sample(known, min(panel.games, len(known)))]
    prefixes = some_states(policy_prefixes(judge.chat, watched.episodes, dialogue), STATES, rng)
    return Panel(
        *(model, reference, judge, committee, played, prefixes, watched, settings),
        dialogue=dialogue,
        job=job,
    )


def _numbers(measured: Measurement) -> dict[str, float]:
    return {name: value for name, value in asdict(measured).items() if value is not None and name != "step"}
