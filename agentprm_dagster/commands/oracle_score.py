"""`agentprm oracle score`: reward models beside near-exact values, and beside scorers that know little or all."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import typer

from agentprm_dagster.commands.tables import print_table
from agentprm_dagster.config import Experiment
from agentprm_dagster.config.catalog import ExperimentError, load_compute, load_experiment, require_experiment
from agentprm_dagster.config.kinds import AnyEngine
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.improvement.implicit_dpo import REWARD as IMPLICIT
from agentprm_dagster.oracle.page import COLUMNS, WHOLE, markdown, rows
from agentprm_dagster.oracle.scoring import Score, score, split_half
from agentprm_dagster.oracle.tables import ASSET, Oracle, read_oracle
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.resources.artifacts import ArtifactsResource

POLICY = "improved_policy"
"""The asset whose implicit reward is judged."""

LEAST = 5
"""Columns of the table that stay however narrow the terminal is."""


@dataclass(frozen=True)
class Named:
    """An experiment and, where a person has named one, an iteration of it."""

    experiment: str
    iteration: int | None


def named(text: str) -> Named:
    """Reads `EXPERIMENT` or `EXPERIMENT:ITERATION`; typer.BadParameter where it is neither."""
    name, colon, number = text.partition(":")
    try:
        require_experiment(name)
    except ExperimentError as error:
        raise typer.BadParameter(str(error)) from error
    if colon and not (number.isdecimal() and len(number) <= 4):
        raise typer.BadParameter(f"expected EXPERIMENT or EXPERIMENT:ITERATION as in smoke:2, got {text[:100]!r}")
    return Named(name, int(number) if colon else None)


def score_prms(
    prms: Sequence[str],
    assets: Sequence[str],
    by: str | None,
    seed: int,
    compute: str,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Prints how reward models do by an oracle; `by` names it, without it is that of the policy of the first model.

    Raises:
        ArtifactError: the oracle or a model has not been made.
        OracleError: the oracle was continued too little to be split in halves.
    """
    store, asked = ArtifactsResource().store(), [named(text) for text in prms]
    models = [_model(store, each, asset) for each in asked for asset in assets]
    truth = _truth(store, by, models[0])
    oracle, settings = read_oracle(truth.path), load_experiment(truth.version.experiment)
    scores = list(_baselines(oracle, seed))
    for made in models:
        typer.echo(f"reading {made.version.partition}", err=True)
        scores.append(_scored(store, made, oracle, settings, load_compute(compute).engine, seed))
    about = _about(truth, oracle)
    if out:
        out.write_text(markdown(scores, about), encoding="utf-8")
    if as_json:
        print(json.dumps({"oracle": str(truth.version), "scores": [each.to_dict() for each in scores]}, indent=2))
        return
    typer.echo(about)
    print_table(COLUMNS, [row for row in rows(scores) if row[0] == WHOLE], LEAST)
    typer.echo("--out and --json tell it by phase, kind of task and games, too.")


def _model(store: ArtifactStore, asked: Named, asset: str) -> Artifact:
    """A reward model, of the last iteration that has one where none was named."""
    iteration = asked.iteration
    if iteration is None:
        made = [head.iteration for head in store.heads(asked.experiment) if head.asset == asset]
        if not made:
            raise ArtifactError(
                f"{asked.experiment} has no {asset}: `agentprm run {asked.experiment}` makes what it has"
            )
        iteration = max(made)
    return store.current(asked.experiment, asset, iteration)


def _truth(store: ArtifactStore, by: str | None, first: Artifact) -> Artifact:
    """The oracle that was named, or that of the policy whose rollouts the first model has learnt from."""
    asked = named(by) if by else Named(first.version.experiment, first.version.iteration - 1)
    iteration = first.version.iteration - 1 if asked.iteration is None else asked.iteration
    if not store.has(asked.experiment, ASSET, iteration):
        raise ArtifactError(
            f"there is no oracle of pi_{iteration} of {asked.experiment}: "
            f"`agentprm oracle play {asked.experiment} -i {iteration}` makes it, or name another one with --oracle"
        )
    return store.current(asked.experiment, ASSET, iteration)


def _baselines(oracle: Oracle, seed: int) -> Iterator[Score]:
    """What knows nothing, what the policy itself prefers, and the limit."""
    q = oracle.answers["q"].to_numpy()
    yield score(oracle, np.full(len(q), q.mean()), "constant", probability=True, seed=seed)
    log_p = oracle.answers["log_probability"].to_numpy()
    yield score(oracle, log_p, "log pi of the policy", probability=False, seed=seed)
    yield split_half(oracle, seed)


def _scored(
    store: ArtifactStore, made: Artifact, oracle: Oracle, settings: Experiment, engine: AnyEngine, seed: int
) -> Score:
    if made.version.asset == POLICY:
        said = _log_ratio(store, made, oracle, settings, engine)
    else:
        said = _said(made, oracle, settings, engine)
    of = load_experiment(made.version.experiment)
    returns = made.version.asset in ("prm", "prm_committee") and of.prm.loss == "absolute" and of.targets.of_returns
    name = f"{made.version.experiment}/{made.version.asset}[{made.version.iteration}]"
    return score(oracle, said, name, probability=returns, seed=seed, trained_on=_trained_on(store, made))


def _said(made: Artifact, oracle: Oracle, settings: Experiment, engine: AnyEngine) -> np.ndarray:
    """What a model says of every answer, in [0, 1]; of a committee the mean of its members."""
    from agentprm_dagster.oracle.reading import read_logits  # loads torch

    wording, dialogue = kind_of(settings.environment.kind).wording, settings.dialogue.format
    members = sorted(made.path.glob("member_*")) or [made.path]
    logits = [read_logits(member, oracle, wording, dialogue, engine) for member in members]
    return np.mean([1 / (1 + np.exp(-each)) for each in logits], axis=0)


def _log_ratio(
    store: ArtifactStore, made: Artifact, oracle: Oracle, settings: Experiment, engine: AnyEngine
) -> np.ndarray:
    """The implicit reward of every answer (A,), in nats: log pi_i - log pi_(i-1), or log pi_phi - log pi_(i-1) of the
    policy that pi_i's answers were ranked by (`improvement.implicit_dpo`).
    """
    from agentprm_dagster.oracle.reading import read_log_probs  # loads torch

    wording, dialogue = kind_of(settings.environment.kind).wording, settings.dialogue.format
    (before,) = [store.resolve(each).path for each in made.manifest.inputs if each.role == "behaviour_policy"]
    after = ranked_by if (ranked_by := made.path / IMPLICIT).is_dir() else made.path
    log_p = [read_log_probs(policy, oracle, wording, dialogue, engine) for policy in (after, before)]
    return log_p[0] - log_p[1]


def _trained_on(store: ArtifactStore, made: Artifact) -> list[str]:
    """The games whose rollouts a model has learnt from, as its targets name them."""
    for each in made.manifest.inputs:
        if each.asset == "mc_value_targets":
            table = pd.read_parquet(store.resolve(each).path / "targets.parquet", columns=["game", "held_out"])
            return sorted(table.loc[~table["held_out"], "game"].unique())
    return []


def _about(truth: Artifact, oracle: Oracle) -> str:
    continuations, error = oracle.answers["continuations"].mean(), oracle.answers["standard_error"].mean()
    return (
        f"By {truth.version}: {len(oracle.answers)} answers in {len(oracle.states)} states, {continuations:.0f} "
        f"continuations each, mean standard error {error:.3f}; in brackets 95% intervals over states."
    )
