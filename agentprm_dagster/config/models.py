"""Settings of the models and of how they are trained."""

from typing import Annotated, Literal

from pydantic import Field

from agentprm_dagster.section import (
    AtOnce,
    Epochs,
    HeadTraining,
    LearningRate,
    Positive,
    Probability,
    Section,
    Tokens,
    Weight,
)


class Sft(Section):
    """Supervised fine-tuning on the demonstrations (the paper's pi_0)."""

    epochs: Epochs = 3
    optimizer: Literal["adamw", "muon"] = "muon"
    """Muon suits a small model trained from scratch, AdamW a pretrained one."""
    learning_rate: LearningRate = 4e-3
    batch_episodes: Positive = 8
    weight_decay: Weight = 0.01


class Prm(HeadTraining):
    """The process reward model (Eq. 2)."""

    init: Literal["policy", "base", "previous"] = "policy"
    """Where the backbone starts: the behaviour policy, the untuned base model, or the PRM of the iteration before."""
    loss: Literal["absolute", "relative"] = "absolute"
    """`absolute`: Eq. 2. `relative`: Bradley-Terry on pairs of actions tried in one state (section 4 of the paper);
    values are then known up to what their state adds, and states where one action was tried are not learnt from."""
    margin: Probability = 0.0
    """Least distance of the targets of such a pair; 0 takes all that differ."""
    pairwise_weight: Weight = 1.0
    """Weight of the pairwise term on states with several tried actions; 0 is the paper's soft BCE alone."""
    reply_weight: Weight = 1.0
    """Weight of the value read again behind the environment's reply (`append` dialogues), and learnt from at the answer
    (`algorithm.prm_loss`); 0 reads answers alone, with Eq. 1's target."""


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
    """The model of what the environment replies (section 4.3 of the paper), trained where `evaluation.lookahead` uses
    it."""

    learning_rate: LearningRate = 2e-3
    batch_tokens: Positive = 4096
    max_reply_tokens: Tokens = 96
    """Longest reply that is predicted."""
