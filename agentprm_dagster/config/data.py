"""Settings of the data: games, demonstrations, rollouts, targets, evaluations."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agentprm_dagster.section import (
    MOST,
    MOST_AT_ONCE,
    Actions,
    AtOnce,
    Distinct,
    Drawn,
    Epochs,
    NotNegative,
    OneOrSeveral,
    Positive,
    PositiveFloat,
    PositiveTemperature,
    Probability,
    Section,
    Temperature,
    Tokens,
    Weight,
)

Split = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""A split of the environment's tasks."""


class Demonstrations(Section):
    """What the expert shows."""

    expert: Annotated[str, Field(max_length=40)] | None = None
    """One of the environment's own (null: its first), or a language model behind a server (`llm`). ALFWorld has its
    handcoded expert as shipped (`handcoded`), the same with its put/move fault corrected (`handcoded_corrected`), and
    the game's own `walkthrough`."""
    episodes: Positive = 1000
    max_steps: Actions = 30
    """Demonstrations that have not won by then are counted and left out."""
    action_noise: Probability = 0.0
    """Share of the expert's turns before which a mistake is made for it to recover from; 0 is the paper's."""
    place_noise: Probability = 0.0
    """The same for mistakes about places: going where one is, or to a place that is not there. Behind a place that
    cannot be gone to the expert looks into it, since it may be at hand."""

    likeliest_first: Annotated[int, Field(ge=0, le=100)] = 0
    """With how many copies each won demonstration is replaced that look into the likeliest places first, as the
    demonstrations together tell; 0 keeps it as it is, as the paper does."""

    @model_validator(mode="after")
    def llm_errs_by_itself(self) -> Self:
        for name in ("action_noise", "place_noise"):
            if self.expert == "llm" and (noise := getattr(self, name)):
                raise ValueError(f"{name} is added to what a rule says, and expert: llm needs {name}: 0; got {noise}")
        return self

    @model_validator(mode="after")
    def a_rule_looks_first(self) -> Self:
        if self.expert == "llm" and self.likeliest_first:
            raise ValueError(
                f"likeliest_first has its reasons worded by a rule, and expert: llm needs likeliest_first: 0; got "
                f"{self.likeliest_first}"
            )
        return self


class Dialogue(Section):
    """How an episode is written for the model."""

    format: Literal["append", "restated"] = "append"
    """`append`: one growing conversation. `restated`: the paper's prompt, the history written anew each turn."""


class Pretraining(Section):
    """Reading random play first (embedded model only): one built from scratch must learn the language of the games."""

    episodes: NotNegative = 0
    """Episodes of random commands on training games; 0 begins with the demonstrations."""
    max_steps: Actions = 20
    hindsight: bool = False
    """Whether each episode is told as if its task had been about an object that it happened upon."""
    epochs: Epochs = 2


class Rollouts(Section):
    """How the behaviour policy explores (stage 1 of the paper's Algorithm 1)."""

    games: Positive | None = 300
    """Training games drawn for this iteration; null takes all, as the default does where there are fewer."""
    per_game: AtOnce = 2
    """Whole episodes of each game."""
    expert_starts: Probability = 0.0
    """Share of the whole episodes that begin at a state along a won demonstration of their game, any turn of it (the
    paper's Reset-50-50, section 4); where a game has none they begin at its start, as all do with 0."""
    temperature: Temperature = 1.0
    max_steps: Actions = 30
    branch_states: Annotated[int, Field(ge=0, le=MOST_AT_ONCE)] = 2
    """States drawn along each whole episode, on average; from each, other actions are tried."""
    branch_placement: Literal["uniform", "spread", "disagreement", "uncertainty"] = "uniform"
    """Where they are (`rollouts.placement`): drawn uniformly, or rather where the policy's answers spread, where the
    last iteration's reward model tells the actions apart, or where it holds their outcome for uncertain. The last two
    take `spread` in iteration 1, which has no reward model yet."""
    branch_actions: Annotated[int, Field(ge=0, le=MOST_AT_ONCE)] = 3
    """Different sampled actions tried from such a state (k), at least 2; 0 is the paper's way: whole episodes only."""
    branch_continuations: AtOnce = 1
    """Continuations played after each tried action (m)."""
    branch_temperature: PositiveTemperature = 1.0
    """Temperature at which the actions to try are drawn; they are continued at `temperature`."""
    patience: Annotated[int, Field(ge=2, le=MOST)] | None = None
    """An episode is over, and lost, when it does the same thing with the same reply so many times; null plays on."""
    slots: AtOnce = 64
    """Episodes played at the same time."""
    max_new_tokens: Tokens = 16

    @model_validator(mode="after")
    def actions_are_compared(self) -> Self:
        if self.branch_actions == 1:
            raise ValueError(
                "branch_actions 1 leaves nothing to compare in a state: set at least 2, or 0 for whole episodes only"
            )
        return self


class Lookahead(Section):
    """Model-predictive reasoning (section 4.3 of the paper): the PRM ranks answers behind what they are predicted to
    lead to, where Best-of-N reads the answers alone."""

    worlds: Distinct[Literal["learned", "oracle"]] = ()
    """What says what happens: a world model (asset `world_model`), or the game itself, the upper limit; none, one or
    both."""
    horizons: OneOrSeveral[AtOnce] = (1,)
    """How many turns are predicted (h), the answer's own included; one or several."""
    best_of: Drawn = 4
    """Answers drawn at every turn, at `best_of_temperature`."""
    prior: Weight = 0.0
    """Weight of log pi of the answer beside the PRM's logit."""


class Evaluation(Section):
    """How policies are judged."""

    splits: OneOrSeveral[Split] = ("valid_seen", "valid_unseen")
    games: Positive | None = None
    """Games of each split; null takes all."""
    max_steps: Actions = 30
    temperature: Temperature = 0.0
    best_of: OneOrSeveral[Drawn] = (8,)
    """N of Best-of-N, reported beside the greedy policy; one or several."""
    ranked_by: OneOrSeveral[Literal["reward", "log_ratio"]] = ("reward",)
    """Who chooses among N answers: the reward model (`improvement.reward`; where there is none nobody chooses), or
    log pi_i - log pi_(i-1), which needs none and which pi_0 has not; one or both."""
    best_of_temperature: PositiveTemperature = 1.0
    best_of_prior: Weight = 0.0
    """Weight of log pi beside the PRM's logit where Best-of-N chooses; 0, the paper's, chooses by the PRM alone.
    The answer taken is the mode, among those drawn, of Eq. 3's optimum with this weight for beta."""
    lookahead: Lookahead = Lookahead()


class Gates(Section):
    """What blocks an iteration from going on, or warns."""

    min_demonstration_success: Probability = 0.5
    max_parse_failures: Probability = 0.05
    """Share of answers in no agreed form, of a policy's rollouts or of a language model that is asked."""
    min_wins: Positive = 10
    min_losses: Positive = 10
    max_prm_loss: PositiveFloat = 1.0
    """Held-out loss of the PRM as a multiple of the loss of always answering the mean target; must stay below."""
    min_ordering_accuracy: Probability = 0.5
    """Share of held-out pairs of tried actions, weighted by the distance of their returns, that the PRM orders as these
    do: what the lower end of its 95% interval must reach. Chance is 0.5; 0 switches the gate off."""
    hackable: Literal["warn", "block"] = "warn"
    """What becomes of a reward model that answers made to please are valued by: told, or not gone on with."""
    max_hackable: Probability = 0.2
    """Share of held-out decisions in which answers made to please may be valued above every real one; 1 switches the
    gate off."""
    hack_margin: Weight = 0.1
    """By how much: in chances of winning; of InversePRM in standard deviations of what it says of real answers."""
    min_world_exact: Weight = 1.0
    """Share of held-out replies that the world model foresees exactly, as a multiple of what the better of two constant
    guesses gets right; must stay above."""
    max_kl: PositiveFloat = 20.0
    """Nats per answer between the improved policy and its reference."""
