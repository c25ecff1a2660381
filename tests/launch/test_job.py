"""A training in parts."""

from agentprm_dagster.launch.job import Job
from asked_trainings import Heard


def test_the_curves_of_two_parts_have_names_of_their_own() -> None:
    heard = Heard()
    job = Job(seed=0, monitor=heard)
    for name in ("pretraining", "sft"):
        job.part(name).monitor.metrics({"loss": 0.5}, 10)
        job.part(name).monitor.progress(1, 2, "training steps")
    assert heard.said == [
        ({"pretraining/loss": 0.5}, 10),
        (1, 2, "pretraining training steps"),
        ({"sft/loss": 0.5}, 10),
        (1, 2, "sft training steps"),
    ]
