"""Whether the improved policy explores in the next iteration."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg

from agentprm_dagster.algorithm.statistics import paired_difference
from agentprm_dagster.episodes.stage import Monitor, Resume, StageReport
from agentprm_dagster.episodes.values import read_values
from agentprm_dagster.iterations import FIRST, ITERATIONS
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.lineage import with_ancestors
from agentprm_dagster.provenance.owner import user_name
from agentprm_dagster.reports.evaluation import folder_name
from agentprm_dagster.reports.promotion import (
    DECISION,
    Finding,
    Overruled,
    PromotionError,
    best_of_n_loses,
    decided,
    gain,
    overestimates,
    promotion_report,
    total_kl,
    verdict_of,
)
from agentprm_dagster.reports.results import Row
from agentprm_dagster.resources.stages import Stage, StagesResource
from agentprm_dagster.stages.decisions import ATTEMPT, PROMOTION, decision_of
from agentprm_dagster.stages.evaluations import first_returns, outcomes_in, rows_of
from agentprm_dagster.stages.failures import in_own_words
from agentprm_dagster.stages.materialization import gates

KL_GATE = "kl_budget"
"""The gate of `improved_policy` whose value is how far its update went, in nats an answer."""


class Overrule(dg.Config):
    """A person's verdict in the place of the tests'; empty: the tests decide, or who overruled them before."""

    verdict: str = ""
    """promote, repeat or stop."""
    why: str = ""
    """The reason, which is recorded; a verdict needs one."""
    who: str = ""
    """Who says so; empty: the user whose process makes it."""


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["eval_report", "improved_policy"],
    check_specs=gates(PROMOTION, "promoted"),
    kinds={"decision"},
)
@in_own_words
def promotion(context: dg.AssetExecutionContext, config: Overrule, stages: StagesResource) -> dg.MaterializeResult:
    """Promote, repeat with another seed, or stop: by a paired test on the same games, KL, hacking signals and hours.

    A promoted policy is announced as the behaviour policy of iteration i + 1. Launched with a verdict and a reason in
    its config, a person's verdict counts.
    """
    stage = stages.stage(context)
    asked = stage.settings("promotion", "evaluation.splits", "improvement.reward", "prm.loss")
    rule = asked.promotion
    split = rule.split or asked.evaluation.splits[0]
    returns = (asked.improvement.reward, asked.prm.loss) == ("prm", "absolute")  # values of other models are none
    gamma = stage.settings("targets.gamma").targets.gamma if returns else None
    report, policy = stage.read("eval_report"), stage.read("improved_policy")
    before = report
    if stage.iteration > FIRST:
        before = stage.read("eval_report", stage.iteration - 1, role="previous_eval_report")
    stage.attempt = report.manifest.seeds.get(ATTEMPT, 0)
    overruled = _overruled(config) or _overruled_before(stage)
    ancestors = with_ancestors(stage.store, report.version, policy.version)
    hours = sum(made.manifest.seconds for made in ancestors) / 3600

    def decide(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        tests = [
            *_gain(report, before, stage.iteration, split, rule.min_gain),
            *_total_kl(ancestors, rule.max_total_kl),
            *_best_of_n(report, stage.iteration, split, "best_of_n_loses" in rule.hacking),
            *_overestimates(report, stage.iteration, split, gamma, "overestimates" in rule.hacking),
        ]
        decision = decided(
            tests,
            attempt=stage.attempt,
            attempts=rule.attempts,
            hours=hours,
            max_hours=rule.max_hours,
            overruled=overruled,
        )
        (out / DECISION).write_text(decision.to_json(), encoding="utf-8")
        return promotion_report(decision, iteration=stage.iteration, hours=hours, max_hours=rule.max_hours)

    def conclude(made: Artifact) -> None:
        decision, following = decision_of(made), stage.iteration + 1
        if decision.verdict != "promote":
            return
        stages.tracker.champion(policy)
        if decision.goes_on and following <= stage.unrecorded("iterations").iterations:
            by = decision.overruled.who if decision.overruled else PROMOTION
            stage.announce(following, policy, by, decision.words)

    identity = {} if overruled is None else {f"overruled_{key}": text for key, text in _texts(overruled).items()}
    return stage.make(decide, identity=identity, then=conclude)


def _overruled(config: Overrule) -> Overruled | None:
    """What a person says; None where nobody does."""
    if not config.verdict:
        return None
    verdict = verdict_of(config.verdict)
    if not config.why.strip():
        raise PromotionError(f"{verdict} needs a reason: say in `why` what the tests did not see; it is recorded")
    return Overruled(verdict, config.who.strip() or user_name(), config.why.strip())


def _overruled_before(stage: Stage) -> Overruled | None:
    """What a person said of exactly these inputs before: it stands until they are others."""
    if not stage.store.has(stage.experiment, PROMOTION, stage.iteration):
        return None
    last = stage.store.current(stage.experiment, PROMOTION, stage.iteration)
    read = {role: artifact.as_input(role) for role, artifact in stage.inputs.items()}
    same = {made.role: made for made in last.manifest.inputs} == read
    return decision_of(last).overruled if same else None


def _texts(overruled: Overruled) -> dict[str, str]:
    return {"verdict": overruled.verdict, "by": overruled.who, "why": overruled.why}


def _total_kl(ancestors: Sequence[Artifact], at_most: float | None) -> Iterator[Finding]:
    """What all updates went, where each has measured it."""
    updates = [made.manifest for made in ancestors if made.manifest.asset == "improved_policy"]
    measured = [
        gate.value for made in updates for gate in made.gates if gate.name == KL_GATE and gate.value is not None
    ]
    if len(measured) == len(updates):
        yield total_kl(measured, at_most=at_most)
    elif at_most is not None:
        raise PromotionError(
            f"promotion.max_total_kl: {at_most:g} needs how far each of {len(updates)} updates went, and {KL_GATE} "
            f"says it of {len(measured)}: leave it out, or improve the policy by a kind that measures it"
        )


def _gain(report: Artifact, before: Artifact, i: int, split: str, at_least: float | None) -> Iterator[Finding]:
    """The policy beside the one that the iteration began from, each answering greedily."""
    (ours,), (theirs,) = _greedy(report, i, split), _greedy(before, i - 1, split)
    found = paired_difference(
        outcomes_in(report.path / folder_name(ours)), outcomes_in(before.path / folder_name(theirs))
    )
    yield gain(found, policy=f"pi_{i}", before=f"pi_{i - 1}", split=split, at_least=at_least)


def _best_of_n(report: Artifact, i: int, split: str, decides: bool) -> Iterator[Finding]:
    """Whether choosing by the PRM, among the most answers that were tried, loses games."""
    (alone,) = _greedy(report, i, split)
    ranked = [
        row
        for row in rows_of(report)
        if (row["policy"], row["split"], row["world"]) == (f"pi_{i}", split, None)
        and row["ranked_by"] not in (None, "log_ratio")
    ]
    if ranked:
        most = max(ranked, key=lambda row: row["best_of"])
        won, won_alone = (outcomes_in(report.path / folder_name(row)) for row in (most, alone))
        yield best_of_n_loses(paired_difference(won, won_alone), n=most["best_of"], decides=decides)


def _overestimates(report: Artifact, i: int, split: str, gamma: float | None, decides: bool) -> Iterator[Finding]:
    """Whether the PRM values first answers above their returns, in the games whose turns it has read."""
    (alone,) = _greedy(report, i, split)
    folder = report.path / folder_name(alone)
    values = {name: turns[0].q for name, turns in read_values(folder).items() if turns}
    if gamma is None or len(values) < 2:
        return
    returns = first_returns(folder, gamma)
    yield overestimates(list(values.values()), [returns[name] for name in values], decides=decides)


def _greedy(report: Artifact, i: int, split: str) -> list[Row]:
    """The one row of a policy that answered alone."""
    return [
        row for row in rows_of(report) if (row["policy"], row["split"], row["ranked_by"]) == (f"pi_{i}", split, None)
    ]
