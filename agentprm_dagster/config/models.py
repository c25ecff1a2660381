"""Settings of the models and of how they are trained."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agentprm_dagster.section import (
    AtOnce,
    Drawn,
    Epochs,
    HeadTraining,
    LearningRate,
    NotNegative,
    Positive,
    PositiveFloat,
    Probability,
    Section,
    Temperature,
    Tokens,
    Weight,
)


class Sft(Section):
    """Supervised fine-tuning on the demonstrations (the paper's pi_0)."""

    epochs: Epochs = 3
    optimizer: Literal["adamw", "muon"] = "muon"
    """Muon suits a small model trained from scratch, AdamW a pretrained one."""
    learning_rate: LearningRate = 4e-3
    warmup_ratio: Probability = 0.05
    batch_episodes: Positive = 8
    weight_decay: Weight = 0.01


class Prm(HeadTraining):
    """The process reward model (Eq. 2)."""

    init: Literal["policy", "base", "previous"] = "policy"
    """Where the trunk starts: the behaviour policy, the untuned base model, or the PRM of the iteration before."""
    loss: Literal["absolute", "relative"] = "absolute"
    """`absolute`: Eq. 2. `relative`: Bradley-Terry on pairs of actions tried in one state (section 4 of the paper);
    values are then known up to what their state adds, and states where one action was tried are not learnt from."""
    margin: Probability = 0.0
    """Least distance of the targets of such a pair; 0 takes all that differ."""
    pairwise_weight: Weight = 1.0
    """Weight of the pairwise term on states with several tried actions; 0 is the paper's soft BCE alone."""
    branch_turns: Positive = 1
    """How many of a branch's own turns are read: the first is what it was played for."""
    reply_weight: Weight = 1.0
    """Weight of the value read again behind the environment's reply (`append` dialogues); 0 reads answers alone."""
    bootstrap: Probability = 0.7
    """Share of that second reading in the first one's target at the end of training; 0 is Eq. 1's target alone."""


class InversePrm(HeadTraining):
    """The process reward model learnt from demonstrations, no outcome read (section 3 of the paper, Eqs. 6 to 10)."""

    gamma: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Discount between Q(s, a) and Q(s', a') in the reward (Eq. 8)."""
    draws: AtOnce = 2
    """Answers a' drawn from the current policy in every state s' of the expert and of past learners, over which
    Q(s', a') is averaged; in its own episodes a' is what it answered."""
    branches: bool = False
    """Whether the first turns of the current rollouts' branches are learners' too: actions drawn at
    `rollouts.branch_temperature`, so that the expert is told also from what the policy seldom does."""


class WorldModel(HeadTraining):
    """The model of what the environment replies (section 4.3 of the paper), trained where `evaluation.foresight` uses
    it."""

    learning_rate: LearningRate = 2e-3
    batch_tokens: Positive = 4096
    max_reply_tokens: Tokens = 96
    """Longest reply that is imagined."""


class Panel(Section):
    """Watching policy improvement on games that the PRM was not fitted on, and when to go back (section 4)."""

    every: NotNegative = 0
    """Steps between two measurements; 0 watches nothing."""
    games: Positive = 100
    """Most held-out games that are played for each, once, at `rollouts.temperature`; no step trains on them."""
    states: Positive = 200
    """About how many held-out states answers are drawn in for each: whole episodes' states, until there are so many."""
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


class Improvement(Section):
    """Policy improvement against the PRM (Eq. 3): Online DPO, reference pi_(i-1)."""

    reward: Literal["prm", "inverse_prm"] = "prm"
    """What answers are ranked by: the PRM of outcomes (AgentPRM), or the one of demonstrations (InversePRM)."""
    games: Literal["all", "held_out"] = "all"
    """Whose states are improved on: all rollouts', or those of games that the PRM was not fitted on
    (`targets.held_out_games`). On the others its values fit returns that it has seen, luck included."""
    trainer: Literal["agentprm", "trl"] = "agentprm"
    """Our loop, which reads an episode once for all its states and answers, or TRL's OnlineDPOTrainer."""
    steps: Positive = 150
    episodes_per_step: Positive = 24
    """Episodes of whose states some are drawn for a step: one that sees few of them learns their peculiarities. Where
    states are read one by one (`dialogue.format: restated`, TRL) a step has as many states as these have at most."""
    states_per_episode: Positive = 8
    """Most states drawn from one of them."""
    candidates: Drawn = 8
    """Actions sampled by the current policy at each state (n)."""
    rank_by: Literal["answer", "reply"] = "answer"
    """Candidates are ranked by Q(s, a), or by what the PRM says behind the environment's reply to each, played from a
    snapshot of the state: beyond the paper, and only where the environment has snapshots."""
    steered: Probability = 0.0
    """Chance of a state that its answers are drawn under a second prompt, which names a receptacle to look at first
    (steered exploration, section 4 of the paper; there 0.5); all else reads the nominal prompt."""
    temperature: Temperature = 1.0
    """At which answers are drawn, above 0; the KL per answer is that of the policy at 1 all the same."""
    max_new_tokens: Tokens = 16
    beta: PositiveFloat = 1.0
    sft_weight: Weight = 0.0
    """Weight of the negative log-likelihood of the chosen answer, beside the DPO loss; 0 is the paper's."""
    kl_weight: Weight = 0.3
    """Weight of KL(pi || pi_(i-1)) per answer over all that was drawn, beside the DPO loss; 0 is the paper's."""
    rationalised_weight: Weight = 0.0
    """Weight of the negative log-likelihood of the best action that rollouts have tried in a state, with a reason found
    after the fact (post-hoc rationalisation, section 4 of the paper)."""
    rationalised_margin: Probability = 0.2
    """How much more than another action tried there its return must be."""
    labels: Literal["hard", "soft"] = "hard"
    """`hard`, the paper's: of a state's best and worst candidate the best wins. `soft`: all pairs of draws, each won
    with the odds that the PRM gives, so that what it hardly tells apart hardly moves the policy."""
    min_gap: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Pairs whose PRM values differ by less are ties and not trained on."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: LearningRate = 3e-4
    warmup_ratio: Probability = 0.1
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
    def most_states_per_step(self) -> int:
        """States of a step whose episodes all have enough of them."""
        return self.episodes_per_step * self.states_per_episode

    @model_validator(mode="after")
    def answers_differ(self) -> Self:
        if self.temperature == 0:
            raise ValueError(
                "improvement.temperature 0 draws the same answer every time, which nothing can be compared with: set "
                "it above 0"
            )
        return self

    @model_validator(mode="after")
    def trl_can(self) -> Self:
        none = dict.fromkeys(("min_gap", "kl_weight", "sft_weight", "steered", "rationalised_weight"), 0)
        only = {"candidates": 2, "rank_by": "answer", "labels": "hard", **none}
        if self.trainer == "trl" and (other := [name for name, value in only.items() if getattr(self, name) != value]):
            needed = ", ".join(f"{name}: {only[name]}" for name in other)
            raise ValueError(f"TRL's OnlineDPOTrainer knows nothing else: trainer: trl needs {needed}")
        if self.trainer == "trl" and self.panel.every:
            raise ValueError("improvement.panel watches trainer: agentprm alone; set panel.every to 0")
        return self
