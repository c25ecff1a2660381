"""One run, one set of settings: an experiment's file that is edited while a run goes on stops the next stage.

Every stage reads the file, and often in a process of its own. So the first stage of a run writes into the run's tags
what the settings were, a digest a section, and the others compare. A stage that is refused costs nothing: what the run
has made is found by the next one, as far as the edit leaves it as it was.

The compute, which decides nothing in a recipe, is written into the tags whole, and every stage of the run has that.
"""

import json

import dagster as dg
from dagster._core.storage.tags import HIDDEN_TAG_PREFIX

from agentprm_dagster.config import Compute, Experiment
from agentprm_dagster.config.catalog import load_compute, require_experiment
from agentprm_dagster.provenance.canonical import digest_of

TAG = f"{HIDDEN_TAG_PREFIX}agentprm/settings_of_"
COMPUTE_TAG = f"{HIDDEN_TAG_PREFIX}agentprm/compute"


class EditedSettingsError(RuntimeError):
    """An experiment's settings are no longer those that its run began with."""


def pin_settings(instance: dg.DagsterInstance, run_id: str, experiment: Experiment) -> None:
    """Writes down what a run's settings are, unless that was done.

    Raises:
        EditedSettingsError: they were others when the run began.
    """
    tag = f"{TAG}{experiment.name}"
    now = {section: digest_of(value) for section, value in experiment.model_dump(mode="json").items()}
    if (text := _pinned(instance, run_id, tag)) is None:
        instance.add_run_tags(run_id, {tag: f"{run_id} {json.dumps(now)}"})
        return
    began_with = json.loads(text)
    if changed := sorted(section for section in now if now[section] != began_with.get(section)):
        raise EditedSettingsError(
            f"{', '.join(changed)} of {experiment.name} was edited since this run began, in "
            f"{require_experiment(experiment.name)} or a file that it extends: stages of one run would be made under "
            "different settings. Launch it again: what was made is kept, and what the edit changes is made anew"
        )


def pin_compute(instance: dg.DagsterInstance, run_id: str, name: str) -> Compute:
    """The compute that a run began with, whatever its file says by now; the first stage reads it, by name or path.

    Raises:
        ExperimentError: there is none, or it is not valid.
    """
    if (text := _pinned(instance, run_id, COMPUTE_TAG)) is not None:
        return Compute.model_validate_json(text)
    compute = load_compute(name)
    instance.add_run_tags(run_id, {COMPUTE_TAG: f"{run_id} {compute.model_dump_json()}"})
    return compute


def _pinned(instance: dg.DagsterInstance, run_id: str, tag: str) -> str | None:
    """What a run's first stage has written into a tag, which names the run: re-executions copy their parent's tags."""
    run = instance.get_run_by_id(run_id)
    began_in, _, text = run.tags.get(tag, "").partition(" ") if run else ("", "", "")
    return text if began_in == run_id else None
