"""Whether an improved policy is taken on: tests in words, a verdict, and who overruled it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Self, cast, get_args

from agentprm_dagster.algorithm.statistics import Difference, spread
from agentprm_dagster.episodes.stage import Gate, StageReport

DECISION = "decision.json"
"""The file of an artifact that holds a decision."""

Verdict = Literal["promote", "repeat", "stop"]
"""Take the policy on; try the iteration again with another seed; end the experiment with the policy before."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition for a policy to be taken on."""

    name: str
    passed: bool
    words: str
    """What was found, and what was asked for."""
    value: float
    """The number that was judged."""
    decides: bool = True
    """Whether the policy is kept from being taken where it did not pass; else it is told and no more."""


@dataclass(frozen=True, slots=True)
class Overruled:
    """A person's verdict in the place of the tests'."""

    verdict: Verdict
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of an improved policy."""

    verdict: Verdict
    goes_on: bool
    """Whether another iteration may follow: the hours are not used up."""
    attempt: int
    """How often this iteration was tried before."""
    tests: tuple[Finding, ...]
    overruled: Overruled | None

    @property
    def words(self) -> str:
        """The reasons in a line: a person's, or the tests that decided."""
        if self.overruled:
            return f"{self.overruled.who}: {self.overruled.why}"
        told = [test for test in self.tests if test.decides and (test.passed or self.verdict != "promote")]
        failed = [test for test in told if not test.passed]
        return "; ".join(test.words for test in failed or told)

    def to_json(self) -> str:
        """Its record."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads `to_json`'s text."""
        read = json.loads(text)
        tests = tuple(Finding(**test) for test in read.pop("tests"))
        overruled = read.pop("overruled")
        return cls(**read, tests=tests, overruled=Overruled(**overruled) if overruled else None)


def decided(
    tests: Sequence[Finding],
    *,
    attempt: int,
    attempts: int,
    hours: float,
    max_hours: float | None,
    overruled: Overruled | None,
) -> Decision:
    """The verdict: promoted where every test that decides was passed, else repeated while attempts and hours are left.

    Args:
        attempt: how often the iteration was tried before this time; `attempts` is how often it may be tried in all.
        hours: wall-clock hours that everything so far has taken; None for `max_hours` allows any.
    """
    goes_on = max_hours is None or hours < max_hours
    verdict: Verdict = "promote"
    if not all(test.passed for test in tests if test.decides):
        verdict = "repeat" if goes_on and attempt + 1 < attempts else "stop"
    if overruled:
        verdict = overruled.verdict
    return Decision(verdict, goes_on, attempt, tuple(tests), overruled)


def gain(found: Difference, *, policy: str, before: str, split: str, at_least: float | None) -> Finding:
    """The paired test on the same games; `at_least` is for the lower end of the interval, None asks for nothing."""
    asked = "any will do" if at_least is None else f"the lower end must be at least {100 * at_least:+.1f}"
    return Finding(
        "gain",
        at_least is None or found.low >= at_least,
        f"{policy} wins {100 * found.rate:+.1f} points more of the same {found.n} games of {split} than {before} "
        f"(95% interval {100 * found.low:+.1f} to {100 * found.high:+.1f}); {asked}",
        found.low,
    )


def total_kl(each: Sequence[float], *, at_most: float | None) -> Finding:
    """How far all updates together went, in nats per answer."""
    total = sum(each)
    asked = "any will do" if at_most is None else f"at most {at_most:g} are allowed"
    return Finding(
        "total_kl",
        at_most is None or total <= at_most,
        f"{len(each)} updates went {total:.3f} nats an answer from the policy before each; {asked}",
        total,
    )


def best_of_n_loses(found: Difference, *, n: int, decides: bool) -> Finding:
    """A sign that the PRM is exploited: choosing by it among N answers loses games."""
    return Finding(
        "best_of_n_loses",
        found.high >= 0,
        f"Best-of-{n} by the PRM wins {100 * found.rate:+.1f} points more games than the policy alone (95% interval "
        f"{100 * found.low:+.1f} to {100 * found.high:+.1f}); all below 0 is a sign that the PRM is exploited",
        found.high,
        decides,
    )


def overestimates(values: Sequence[float], returns: Sequence[float], *, decides: bool) -> Finding:
    """A sign that the PRM is exploited: it values first answers above what became of them.

    Args:
        values: Q(s, a) of the first answer of every episode; of at least two.
        returns: the discounted outcomes of the same episodes, gamma^(T-1) times the reward (Eq. 1).
    """
    found = spread([value - outcome for value, outcome in zip(values, returns, strict=True)])
    return Finding(
        "overestimates",
        found.low <= 0,
        f"the PRM values first answers {100 * found.mean:+.1f} points beside their returns in {found.n} games (95% "
        f"interval {100 * found.low:+.1f} to {100 * found.high:+.1f}); all above 0 is a sign that the PRM is exploited",
        found.mean,
        decides,
    )


def promotion_report(decision: Decision, *, iteration: int, hours: float, max_hours: float | None) -> StageReport:
    """The page, the numbers, and a gate that only a promoted policy passes."""
    # Times stand on the page where they decide, and nowhere else: the same inputs are to give the same bytes.
    spent = f" All stages so far took {hours:.2f} of {max_hours:g} hours." if max_hours else ""
    lines = [
        f"| {test.name} | {'passed' if test.passed else 'not passed'} | {'decides' if test.decides else 'told'} "
        f"| {test.words} |"
        for test in decision.tests
    ]
    by = f" Overruled by {decision.overruled.who}: {decision.overruled.why}" if decision.overruled else ""
    page = "\n".join(
        [
            f"**{_VERDICTS[decision.verdict].format(i=iteration, before=iteration - 1)}**{by}",
            "",
            f"Attempt {decision.attempt + 1}.{spent}"
            + ("" if decision.goes_on else " They are used up: no iteration follows."),
            "",
            "| test | | | found |",
            "|---|---|---|---|",
            *lines,
        ]
    )
    gate = Gate(
        "promoted",
        decision.verdict == "promote",
        f"{decision.verdict}: {decision.words}. `agentprm promote EXPERIMENT -i {iteration} --why ...` takes it on "
        "anyway",
    )
    numbers = {test.name: test.value for test in decision.tests}
    return StageReport({**numbers, "hours": hours, "attempt": float(decision.attempt)}, (gate,), page)


_VERDICTS: Mapping[Verdict, str] = {
    "promote": "pi_{i} is promoted.",
    "repeat": "Iteration {i} is repeated with another seed; pi_{before} stays the behaviour policy.",
    "stop": "The experiment stops; pi_{before} is the last policy that was promoted.",
}


class PromotionError(ValueError):
    """A verdict that is none, or that nobody gives a reason for."""


def verdict_of(text: str) -> Verdict:
    """A verdict by its name; PromotionError where it is none."""
    if text not in get_args(Verdict):
        raise PromotionError(f"expected a verdict, {', '.join(get_args(Verdict))}; got {text!r}")
    return cast(Verdict, text)
