"""Work of stages that were killed, kept by recipe until the stage is committed.

    <work>/unfinished/<experiment>.<asset>.<iteration>/<16 digits of the recipe's key>/

An attempt finds what an earlier one of the same recipe has saved; what was saved for another recipe is out of date.
Within, a folder each is for what is computed by other means (`stages.compute.UsedCompute.folder`).
Callers hold the partition's lock.
"""

import shutil
from pathlib import Path

from agentprm_dagster.provenance.manifest import AssetPartition, Recipe


def unfinished_folder(work: Path, recipe: Recipe) -> Path:
    """Where the attempts of a recipe save what is not done, made when first needed; that of other recipes goes."""
    mine = _folder(work, recipe.partition) / recipe.key[:16]
    for other in mine.parent.glob("*"):
        if other != mine:
            shutil.rmtree(other)
    return mine


def forget_unfinished(work: Path, partition: AssetPartition) -> None:
    """Removes what attempts have saved: the stage is committed."""
    folder = _folder(work, partition)
    if folder.exists():
        shutil.rmtree(folder)


def _folder(work: Path, partition: AssetPartition) -> Path:
    return work / "unfinished" / f"{partition.experiment}.{partition.asset}.{partition.iteration}"
