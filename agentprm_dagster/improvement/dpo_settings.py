"""Settings of Online DPO in our loop."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from agentprm_dagster.envs.base import DrawsHypotheses
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.improvement.settings import AgainstReward
from agentprm_dagster.section import Drawn, NotNegative, Positive, PositiveFloat, Probability, Section, Weight


class Panel(Section):
    """Watching policy improvement on games that the PRM was not fitted on, and when to go back (section 4)."""

    every: NotNegative = 0
    """Steps between two measurements; 0 watches nothing."""
    games: Positive = 100
    """Most held-out games that are played for each, once, at `rollouts.temperature`; no step trains on them."""
    committee: Annotated[int, Field(ge=0, le=64)] = 0
    """PRMs trained on disjoint games, to see whether they agree (asset `prm_committee`); 0 or at least 2."""
    tripwire: Literal["none", "success", "kl", "disagreement", "calibration"] = "none"
    """What stops the improvement and takes the policy back to the last measurement that was in order. All but
    `success` need no success rate (`reports.overoptimization`)."""
    limit: PositiveFloat | None = None
    """Where it does: `success` fallen by so much from its best, `kl` above so many nats an answer, `disagreement` above
    so many times what it began with, `calibration` (predicted minus observed return) risen by so much; null is the
    signal's own, `reports.overoptimization.LIMITS`."""

    @model_validator(mode="after")
    def somebody_disagrees(self) -> Self:
        if self.committee == 1 or (self.tripwire == "disagreement" and not self.committee):
            raise ValueError(f"committee {self.committee}: disagreement needs at least 2")
        if self.tripwire != "none" and not self.every:
            raise ValueError(f"tripwire: {self.tripwire} needs measurements: every above 0")
        if self.tripwire == "disagreement" and self.limit is not None and self.limit <= 1:
            raise ValueError(
                f"limit {self.limit:g}: disagreement stops at so many times what it began with, which 1 or less calls "
                "out of order where nothing has changed: set limit above 1"
            )
        return self


class OnlineDpo(AgainstReward):
    """Online DPO, which reads an episode once for all its states and answers, whatever ranks these."""

    candidates: Drawn = 8
    """Actions sampled by the current policy at each state (n)."""
    steered: Probability = 0.0
    """Chance of a state that its answers are drawn under a second prompt, which names a receptacle to look at first
    (steered exploration, section 4 of the paper; there 0.5); all else reads the nominal prompt."""
    kl_weight: Weight = 0.3
    """Weight of KL(pi || pi_(i-1)) per answer over all that was drawn, beside the DPO loss; 0 is the paper's."""
    rationalised_weight: Weight = 0.0
    """Weight of the negative log-likelihood of the best action that rollouts have tried in a state, with a reason found
    after the fact (post-hoc rationalisation, section 4 of the paper)."""
    labels: Literal["hard", "soft"] = "hard"
    """`hard`, the paper's: of a state's best and worst candidate the best wins. `soft`: all pairs of draws, each won
    with the odds that the PRM gives, so that what it hardly tells apart hardly moves the policy."""
    min_gap: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Pairs whose PRM values differ by less are ties and not trained on."""
    panel: Panel = Panel()

    @model_validator(mode="after")
    def panel_is_reached(self) -> Self:
        if self.panel.every > self.steps:
            raise ValueError(
                f"panel.every: {self.panel.every} is more than steps: {self.steps}, so that nothing would be measured "
                "after the first: lower it, or set it to 0"
            )
        return self

    @property
    def reads(self) -> tuple[str, ...]:
        """See the base."""
        targets = self.panel.every or self.rationalised_weight
        committee = ["prm_committee"] if self.panel.committee else []
        return (*super().reads, *(["mc_value_targets"] if targets else []), *committee)

    @property
    def sections(self) -> tuple[str, ...]:
        """See the base; a panel plays games and compares what the PRM says with their returns."""
        watching = ("rollouts", "targets", "prm.batch_tokens") if self.panel.every else ()
        return (*super().sections, *(["prm.loss"] if self.reward == "prm" else []), *watching)

    def check(self, experiment: Any) -> None:
        """See the base."""
        super().check(experiment)
        kind, panel = kind_of(experiment.environment.kind), self.panel
        if self.steered and not isinstance(kind, DrawsHypotheses):
            raise ValueError(f"improvement.steered: {kind.name} draws no hypotheses: set it to 0")
        of_returns = self.reward == "prm" and experiment.prm.loss == "absolute" and experiment.targets.of_returns
        if (panel.tripwire == "calibration" or panel.committee) and not of_returns:
            raise ValueError(
                "improvement.panel: calibration and committee are for PRMs of returns: improvement.reward: prm, "
                "prm.loss: absolute, targets.kind: mc"
            )
        if experiment.explored is not None and panel.committee >= experiment.explored:
            raise ValueError(
                f"improvement.panel.committee: {panel.committee} members each learn from their own games, and rollouts "
                f"explore {experiment.explored}, one of them held out: lower it, or raise environment.train or "
                "rollouts.games"
            )


class Settings(OnlineDpo):
    """Online DPO against a reward model."""

    kind: Literal["dpo"] = "dpo"
