"""All iterations beside the paper."""

import json
from pathlib import Path

import dagster as dg

from agentprm_dagster.chart import draw, draw_scaling
from agentprm_dagster.core.results import in_order, results_report
from agentprm_dagster.core.stage import Monitor, Resume, StageReport
from agentprm_dagster.iterations import FIRST, WHEN_UPDATED
from agentprm_dagster.resources.evaluations import evaluated, rows_of
from agentprm_dagster.resources.stages import StagesResource


@dg.asset(deps=["eval_report", "react_report"], automation_condition=WHEN_UPDATED, kinds={"table"})
def results(context: dg.AssetExecutionContext, stages: StagesResource) -> dg.MaterializeResult:
    """Every evaluated iteration in one table and a picture, beside the paper's Table 1."""
    stage = stages.stage(context)
    found = evaluated(stage.store, stage.experiment.name)
    for sentence in found.left_out:
        context.log.warning(sentence)
    reports = [stage.read("eval_report", i, role=f"eval_report_{i}") for i in found.iterations or [FIRST]]
    if stage.experiment.llm.evaluate:
        reports.append(stage.read("react_report"))

    def compare(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        rows = in_order(row for report in reports for row in rows_of(report))
        (out / "results.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
        pictures = {"success over iterations": "results.png"}
        draw(rows, out / "results.png")
        if len(stage.experiment.evaluation.best_of) > 1:
            pictures["success over N"] = "scaling.png"
            draw_scaling(rows, out / "scaling.png")
        return results_report(rows, pictures)

    return stage.make(compare)
