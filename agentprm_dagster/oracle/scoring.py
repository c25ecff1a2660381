"""How near a reward model's values come to the oracle's: over all answers, within states, and as probabilities.

Every number has a 95% interval over states, which are what was drawn (percentiles of a bootstrap). What the oracle
itself can be told by is the limit: half of the continuations judged by the other half.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from agentprm_dagster.algorithm.statistics import bootstrap_interval
from agentprm_dagster.episodes.dialogue import Message
from agentprm_dagster.oracle.tables import Oracle, OracleError

Scorer = Callable[[list[Message], str], float]
"""From the messages of a state and an answer's text to a value: the higher, the better."""

SURE = 2.0
"""How many standard errors the values of two answers are apart where their order counts."""
BINS = 10
"""Parts of equally many answers in which calibration is told."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95% interval; nan where there is nothing to compute it of."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Score:
    """How one scorer does."""

    name: str
    states: int
    answers: int
    pearson: Estimate
    spearman: Estimate
    ordered: Estimate
    """Share of pairs of answers to one state, surely different, that are ordered right; a tie counts half."""
    pairs: int
    regret: Estimate
    """Mean of max Q(s, .) - Q(s, argmax of the scorer): what choosing by it costs, in returns."""
    brier: Estimate
    """Mean squared distance from Q; nan, like the next, where what it says is no probability."""
    calibration_error: Estimate
    """Mean distance from Q over tenths of what it says, of equally many answers each (ECE)."""
    reliability: tuple[tuple[float, float], ...]
    """Of each tenth what it says and what Q is, in the mean."""
    parts: dict[str, "Score"]
    """The same for the states of each phase, kind of task, and games that it was trained on or not."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; what is no number is None."""
        return _plain(asdict(self))


def predictions(oracle: Oracle, score: Scorer) -> np.ndarray:
    """What a function says of every answer (A,), in the order of the table.

    Raises:
        OracleError: it says something that is no finite number.
    """
    conversations = dict(zip(oracle.states["state"], oracle.states["conversation"], strict=True))
    asked = zip(oracle.answers["state"], oracle.answers["text"], strict=True)
    said = np.array([score([dict(each) for each in conversations[state]], text) for state, text in asked], dtype=float)
    if len(wrong := said[~np.isfinite(said)]):
        raise OracleError(f"expected a finite value for every answer, got {wrong[0]} for one of {len(wrong)}")
    return said


def score(
    oracle: Oracle,
    said: np.ndarray,
    name: str,
    *,
    probability: bool,
    q: np.ndarray | None = None,
    standard_error: np.ndarray | None = None,
    seed: int = 0,
    trained_on: Sequence[str] = (),
) -> Score:
    """Judges what was said of every answer (A,), in the order of the table.

    Args:
        probability: whether it is in [0, 1] and means Q itself.
        q: (A,), what to judge by, with its `standard_error` (A,), where it is not all continuations.
        trained_on: the games that the scorer was trained on, if it is known.

    Raises:
        OracleError: there are not as many values as answers.
    """
    if len(said) != len(oracle.answers):
        raise OracleError(f"expected {len(oracle.answers)} values, one an answer, got {len(said)}")
    table = oracle.answers[["state", "q", "standard_error"]].assign(said=said)
    if q is not None and standard_error is not None:
        table = table.assign(q=q, standard_error=standard_error)
    about = oracle.states.set_index("state")
    parts = {
        f"{kind} {value}": _judged(f"{name}, {value}", table[table["state"].isin(states)], probability, seed)
        for kind, value, states in _parts(about, trained_on)
    }
    whole = _judged(name, table, probability, seed)
    return Score(**{**vars(whole), "parts": parts})


def halves(oracle: Oracle) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Q of each answer by every other continuation (A,), and by those between with its standard error.

    Raises:
        OracleError: an answer was continued fewer than four times.
    """
    returns = [np.asarray(each, dtype=float) for each in oracle.answers["returns"]]
    if (least := min(map(len, returns), default=0)) < 4:
        raise OracleError(f"expected at least 4 continuations of every answer to split them, got {least}")
    one, other = [each[::2] for each in returns], [each[1::2] for each in returns]
    errors = [each.std(ddof=1) / np.sqrt(len(each)) for each in other]
    return np.array([each.mean() for each in one]), np.array([each.mean() for each in other]), np.array(errors)


def split_half(oracle: Oracle, seed: int = 0) -> Score:
    """The limit: half of the continuations as a scorer, judged by the other half."""
    one, other, error = halves(oracle)
    return score(oracle, one, "oracle, half by half", probability=True, q=other, standard_error=error, seed=seed)


def _parts(states: pd.DataFrame, trained_on: Sequence[str]) -> Iterator[tuple[str, str, set[str]]]:
    known = {"phase": states["phase"], "task": states["task_type"]}
    if trained_on:
        trained = states["game"].isin(set(trained_on))
        known["games"] = trained.map({True: "trained on", False: "not trained on"})
    for kind, values in known.items():
        for value in dict.fromkeys(values):
            yield kind, str(value), set(states.index[values == value])


def _judged(name: str, table: pd.DataFrame, probability: bool, seed: int) -> Score:
    states = [group for _, group in table.groupby("state", sort=False)]
    rows = [group[["q", "said"]].to_numpy() for group in states]
    pairs = np.array([_pairs(group) for group in states]).reshape(-1, 2)
    regret = np.array([_regret(each) for each in rows]).reshape(-1, 1)

    def over(statistic: Callable[[np.ndarray], float], of: Sequence[np.ndarray]) -> Estimate:
        """A statistic of the rows of all states, with its interval."""
        if not len(of):
            return Estimate(nan, nan, nan)
        low, high = bootstrap_interval(lambda drawn: statistic(np.concatenate([of[i] for i in drawn])), len(of), seed)
        return Estimate(statistic(np.concatenate(of)), low, high)

    of_pairs, of_regret = [each[None] for each in pairs], [each[None] for each in regret]
    nothing = Estimate(nan, nan, nan)
    return Score(
        name=name,
        states=len(states),
        answers=len(table),
        pearson=over(pearson, rows),
        spearman=over(spearman, rows),
        ordered=over(lambda each: float(each[:, 0].sum() / each[:, 1].sum()) if each[:, 1].any() else nan, of_pairs),
        pairs=int(pairs[:, 1].sum()),
        regret=over(lambda each: float(each.mean()), of_regret),
        brier=over(lambda each: float(((each[:, 0] - each[:, 1]) ** 2).mean()), rows) if probability else nothing,
        calibration_error=over(calibration_error, rows) if probability else nothing,
        reliability=tuple(reliability(np.concatenate(rows))) if probability and rows else (),
        parts={},
    )


def pearson(rows: np.ndarray) -> float:
    """The correlation of two columns (A, 2); nan where one of them is constant."""
    if len(rows) < 2 or (np.ptp(rows, axis=0) == 0).any():
        return nan
    return float(np.corrcoef(rows.T)[0, 1])


def spearman(rows: np.ndarray) -> float:
    """That of their ranks, equal values sharing theirs."""
    from scipy.stats import rankdata  # loads slowly

    return pearson(rankdata(rows, axis=0))


def reliability(rows: np.ndarray) -> list[tuple[float, float]]:
    """Of (Q, said) (A, 2): what is said and what Q is, in the mean, of each tenth of the answers by what is said."""
    return [(float(part[:, 1].mean()), float(part[:, 0].mean())) for part in _tenths(rows)]


def calibration_error(rows: np.ndarray) -> float:
    """Mean distance between the two over these tenths, by their sizes."""
    return float(sum(abs((part[:, 1] - part[:, 0]).mean()) * len(part) for part in _tenths(rows)) / len(rows))


def _tenths(rows: np.ndarray) -> list[np.ndarray]:
    """The rows (Q, said) in parts by what is said, lowest first; answers of which the same is said stay together."""
    said = rows[:, 1]
    part = BINS * np.searchsorted(np.sort(said), said) // len(said)
    return [rows[part == each] for each in np.unique(part)]


def _pairs(state: pd.DataFrame) -> tuple[float, float]:
    """How many pairs of a state's answers are ordered right, and how many surely differ."""
    q, error, said = (state[name].to_numpy() for name in ("q", "standard_error", "said"))
    gap = q[:, None] - q[None, :]
    better, worse = np.nonzero((gap > 0) & (gap > SURE * np.hypot(error[:, None], error[None, :])))
    right = (said[better] > said[worse]) + 0.5 * (said[better] == said[worse])
    return float(right.sum()), float(len(better))


def _regret(rows: np.ndarray) -> float:
    """Of one state's (Q, said); of answers that are said to be equally good one is taken at random."""
    q, said = rows.T
    return float(q.max() - q[said == said.max()].mean())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
