"""All iterations beside the paper."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
from agentprm_dagster.resources.stages import Stage, StagesResource

from agentprm_dagster.envs.base import Published
from agentprm_dagster.episodes.stage import Monitor, Resume, StageReport
from agentprm_dagster.iterations import FIRST
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.reports.chart.success import draw, draw_curves, draw_scaling
from agentprm_dagster.reports.results import in_order, results_report
from agentprm_dagster.reports.seeds import seeds_page
from agentprm_dagster.stages.evaluations import evaluated, rows_of
from agentprm_dagster.stages.seeds import of_other_seeds, processors, seed_rows


@dg.asset(deps=["eval_report", "react_report"], kinds={"table"})
def results(context: dg.AssetExecutionContext, stages: StagesResource) -> dg.MaterializeResult:
    """Every evaluated iteration in one table and a picture, also over seeds, beside the paper's Table 1."""
    stage = stages.stage(context)
    settings = stage.settings("evaluation.best_of", "llm.evaluate")
    found = evaluated(stage.store, stage.experiment)
    for sentence in found.left_out:
        context.log.warning(sentence)
    reports = [stage.read("eval_report", i, role=f"eval_report_{i}") for i in found.iterations or [FIRST]]
    with_seeds = [*reports, *_of_other_seeds(stage, reports)]
    trained_on = processors(stage.store, with_seeds)
    published = stage.kind.published() if isinstance(stage.kind, Published) else ""
    if settings.llm.evaluate:
        reports.append(stage.read("react_report"))

    def compare(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        rows = in_order(row for report in reports for row in rows_of(report))
        (out / "results.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
        pictures = {"success over iterations": "results.png"}
        lines = seed_rows(with_seeds)
        draw(rows, out / "results.png", lines)
        draw_curves(rows, out)
        if len(settings.evaluation.best_of) > 1:
            pictures["success over N"] = "scaling.png"
            draw_scaling(rows, out / "scaling.png")
        return results_report(
            rows,
            stage.kind.task_kinds,
            pictures,
            seeds_page(lines, stage.experiment_seed, trained_on),
            published,
        )

    return stage.make(compare)


def _of_other_seeds(stage: Stage, reports: Sequence[Artifact]) -> Iterator[Artifact]:
    """What is damaged, or did not pass its gates, is left out: it is for its own experiment to fail by it."""
    for version in of_other_seeds(stage.store, stage.experiment, reports):
        name, asset, i = version.experiment, version.asset, version.iteration
        try:
            yield stage.read(asset, i, f"{name}_{asset}_{i}", name)
        except ArtifactError as error:
            stage.context.log.warning(f"left out of the table over seeds: {error}")
