"""What `agentprm oracle` is asked."""

from pathlib import Path

import pytest
import typer

from agentprm_dagster.commands.oracle_score import Named, named, score_prms
from agentprm_dagster.provenance.errors import ArtifactError


def test_models_are_named_by_experiment_and_iteration(home: Path) -> None:
    assert named("smoke") == Named("smoke", None)
    assert named("smoke:12") == Named("smoke", 12)
    for wrong in ("smoke:", "smoke:x", "smoke:-1", "smoke:12345", "smok:1", "smoke:1:2", ":1"):
        with pytest.raises(typer.BadParameter):
            named(wrong)


def test_what_was_not_made_is_told_with_what_makes_it(home: Path) -> None:
    for asked in ("smoke", "smoke:1"):
        with pytest.raises(ArtifactError, match="smoke"):
            score_prms([asked], ["prm"], None, 0, "laptop", None, as_json=True)
