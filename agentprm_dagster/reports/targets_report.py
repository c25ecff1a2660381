"""What targets look like, and whether they can be learnt from."""

import numpy as np
import pandas as pd

from agentprm_dagster.algorithm.targets import learnt_targets
from agentprm_dagster.episodes.stage import Gate, StageReport


def targets_report(targets: pd.DataFrame) -> StageReport:
    """What the targets look like, and whether they can be learnt from."""
    pairs = targets.drop_duplicates(["state", "action"])
    actions = pairs.groupby("state").size()
    learnt = learnt_targets(targets)
    metrics = {
        "decisions": len(targets),
        "state_action_pairs": len(pairs),
        "states": len(actions),
        "states_with_several_actions": int((actions > 1).sum()),
        "visited_more_than_once": float((pairs["visits"] > 1).mean()),
        "mean_target": float(targets["q"].mean()),
        "held_out_share": float(targets["held_out"].mean()),
    }
    if "target" in targets:
        metrics["mean_learnt_target"] = float(learnt.mean())
    if "advantage" in targets:
        metrics["mean_advantage"] = float(targets["advantage"].mean())
    gates = (
        Gate(
            "targets_in_unit_interval",
            bool(learnt.between(0, 1).all()),
            f"targets lie between {learnt.min():.4g} and {learnt.max():.4g}; expected [0, 1]",
        ),
        Gate(
            "targets_differ",
            learnt.nunique() > 1,
            f"{learnt.nunique()} different target values; expected at least 2: all episodes ended alike",
        ),
    )
    return StageReport(metrics, gates, _preview(pairs, metrics))


def _preview(pairs: pd.DataFrame, metrics: dict[str, float]) -> str:
    edges = np.linspace(0, 1, 11)
    counts, _ = np.histogram(learnt_targets(pairs), bins=edges)
    bars = "\n".join(
        f"| {low:.1f} to {high:.1f} | {count} | {'█' * round(40 * count / max(counts.max(), 1))} |"
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    )
    table = "\n".join(f"| {name} | {value:.4g} |" for name, value in metrics.items())
    return f"| | |\n|---|---|\n{table}\n\n| target | pairs | |\n|---|---|---|\n{bars}\n"
