"""How well a world model foresees what the environment replies, on games that it was not taught on.

Where random play is read first (`pretraining`), the policy that the world model starts from has read it in most of
these games too, replies included.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable

import pandas as pd

from agentprm_dagster.episodes.records import Turn
from agentprm_dagster.episodes.stage import Gate, StageReport


class Habits:
    """What the environment replies most often, whatever the state: guesses that need no model."""

    def __init__(self, turns: Iterable[Turn]) -> None:
        replies: Counter[str] = Counter()
        by_command: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for turn in turns:
            replies[turn.observation] += 1
            by_command[turn.action][turn.observation] += 1
        ((self.constant, _),) = replies.most_common(1)
        self.by_command = {action: seen.most_common(1)[0][0] for action, seen in by_command.items()}

    def exact(self, scored: pd.DataFrame) -> dict[str, float]:
        """The share of replies that each guess gets right: always the same, the one before, the command's usual one."""
        usual = scored["action"].map(self.by_command).fillna(self.constant)
        guesses = {"constant": self.constant, "previous": scored["previous"], "usual": usual}
        return {name: float((scored["observation"] == guess).mean()) for name, guess in guesses.items()}


def world_report(
    scored: pd.DataFrame, habits: Habits, *, train_loss: float, min_exact: float, tokens: float, refusal: str | None
) -> StageReport:
    """Judges held-out replies, one a row, beside guesses that need no model.

    Columns: action, previous (what was observed before), observation, over (the game ended by this turn), tokens
    (learnt ones of the reply), loss (their sum, nats), exact (all of them are the likeliest), fails (the refusal is
    foreseen), ends (the end is foreseen). `min_exact` is a multiple of what the better of two constant guesses gets
    right. What is usually replied to a command is told and gates nothing: where a reply lists what nobody has seen yet,
    the likeliest words one by one are not the likeliest reply. `refusal` is the reply to a command that cannot be done,
    None where it is not always the same.
    """
    refused = scored["observation"] == refusal
    guessed = habits.exact(scored)
    least = min_exact * max(guessed["constant"], guessed["previous"])
    exact = float(scored["exact"].mean())
    metrics = {
        "train_loss": train_loss,
        "held_out_loss": float(scored["loss"].sum(skipna=False) / scored["tokens"].sum()),
        "held_out_replies": float(len(scored)),
        "exact": exact,
        **{f"{name}_exact": share for name, share in guessed.items()},
        **(_detected("refusal", refused, scored["fails"]) if refusal else {}),
        **_detected("end", scored["over"], scored["ends"]),
        "tokens": tokens,
    }
    gate = Gate(
        "better_than_constant",
        exact > least,
        f"{exact:.1%} of {len(scored)} held-out replies are foreseen exactly; expected more than {least:.1%}, "
        f"{min_exact:g} times what always saying the same, or the same again, gets right: train on more "
        "episodes, or for longer",
        exact,
    )
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in metrics.items())
    return StageReport(metrics, (gate,), f"| held out | |\n|---|---|\n{rows}\n")


def _detected(name: str, happened: pd.Series, foreseen: pd.Series) -> dict[str, float]:
    """The share of what was there that was foreseen, and of what was foreseen that was there; no number of nothing."""
    both = (happened & foreseen).sum()
    shares = {"recall": happened.sum(), "precision": foreseen.sum()}
    return {f"{name}_{share}": float(both / count) for share, count in shares.items() if count}
