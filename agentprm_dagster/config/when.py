"""When an experiment is carried on by itself, and what decides whether its policies are taken on."""

from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field

from agentprm_dagster.config.data import Split
from agentprm_dagster.section import AtOnce, Distinct, PositiveFloat, Section


def _cron(text: str) -> str:
    from dagster._utils.schedules import is_valid_cron_string  # a second, for experiments with a schedule alone

    if len(text.split()) != 5 or not is_valid_cron_string(text):
        raise ValueError(f"expected five fields, as in 0 1 * * * for one o'clock every night; got {text!r}")
    return text


def _timezone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"expected a time zone's name, as UTC or Europe/Berlin; got {name!r}")
    return name


class Schedule(Section):
    """When the next iteration is launched, one at a time, until the experiment has as many as it plans."""

    cron: Annotated[str, Field(max_length=100), AfterValidator(_cron)] = "0 1 * * *"
    timezone: Annotated[str, Field(max_length=100), AfterValidator(_timezone)] = "UTC"
    switched_on: bool = False
    """Whether it is on as soon as Dagster loads it; else a person switches it on in the UI."""
    fresh_hours: PositiveFloat | None = None
    """After so many hours without a new version Dagster says that `results` is overdue; null: never."""


class Promotion(Section):
    """Whether an improved policy becomes the behaviour policy of the next iteration.

    Where it does not, the iteration is repeated with another seed, or the experiment stops.
    """

    split: Split | None = None
    """The games that policies are compared on; null: the first of `evaluation.splits`."""
    min_gain: Annotated[float, Field(gt=-1, lt=1)] | None = None
    """What the lower end of the 95% interval of pi_i's gain over pi_(i-1), game by game, must reach: 0 asks for a
    better policy, -0.05 for one that is not worse by more than 5 points. Null, the paper's way, takes every policy."""
    max_total_kl: PositiveFloat | None = None
    """Nats per answer that all iterations together may go from pi_0, each from the policy before; null: any."""
    hacking: Distinct[Literal["best_of_n_loses", "overestimates"]] = ()
    """Signs that the PRM is exploited which keep a policy from being taken; all are told on the page.
    `best_of_n_loses`: Best-of-N wins fewer games than the policy alone, by the 95% interval. `overestimates`: the PRM
    values first answers above their discounted returns, by the 95% interval."""
    attempts: AtOnce = 1
    """How often an iteration is tried, each time with another seed, before the experiment stops."""
    max_hours: PositiveFloat | None = None
    """Wall-clock hours that all stages so far may have taken; when they have, no iteration follows. Null: any."""


class Origin(Section):
    """The iteration of another experiment whose policy this one begins from."""

    experiment: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,99}$")]
    iteration: AtOnce
