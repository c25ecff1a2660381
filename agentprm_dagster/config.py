"""Every setting of an experiment; what does not go together is refused.

A YAML (`catalog`) names only what differs from the defaults here; the resolved settings go into every manifest.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Temperature = Annotated[float, Field(ge=0, le=2)]


def _one_or_several(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


class Section(BaseModel):
    """Settings that belong together; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Games(Section):
    """Which games are played, and which rooms are never trained on."""

    source: Literal["generated", "alfworld"] = "generated"
    """Generated from a seed, or the real ones under ALFWORLD_DATA."""
    size: Literal["small", "medium", "full"] = "small"
    """How large generated rooms are; `full` is like the real ones."""
    train: Positive | None = 1000
    """Games to train on; null takes all there are."""
    demonstrated: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training games for demonstrations and random play; rollouts play the others, or all where it is 1.
    A small policy wins games that it was shown more often than others: their returns flatter it."""
    valid_seen: Positive | None = 200
    """Games in rooms that training uses too."""
    valid_unseen: NotNegative | None = 300
    """Games in rooms that training never uses (generated games only: ALFWorld's own unseen split is the final exam)."""
    held_out_rooms: Probability = 0.0
    """Share of the training rooms set apart as the out-of-distribution split `train_held_out` (real games)."""


class Demonstrations(Section):
    """What the expert shows."""

    expert: Literal["handcoded", "handcoded_corrected", "walkthrough"] = "handcoded"
    """ALFWorld's handcoded expert as shipped, with its put/move fault corrected, or the game's own walkthrough."""
    episodes: Positive = 1000
    max_steps: Positive = 30
    """Demonstrations that have not won by then are counted and left out."""
    slips: Probability = 0.0
    """Share of the expert's turns before which a mistake is made for it to recover from; 0 is the paper's."""


class Model(Section):
    """The language model that becomes the policy and, with a scalar head, the PRM."""

    name: str = "embedded"
    """`embedded` builds a small Llama from the sizes below; `smollm2` is SmolLM2-135M; else a hub name or a path."""
    hidden_size: Positive = 128
    layers: Positive = 2
    heads: Positive = 8
    """Many narrow ones: with few, SFT from scratch more often fails to learn whether what is looked for is here."""
    kv_heads: Positive = 1
    intermediate_size: Positive = 320
    context: Positive = 2048
    """Longest conversation in tokens (embedded model)."""

    @model_validator(mode="after")
    def heads_divide(self) -> Self:
        if self.hidden_size % self.heads or self.heads % self.kv_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} must be a multiple of heads {self.heads}, and heads of kv_heads "
                f"{self.kv_heads}: attention splits the width evenly"
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
    max_steps: Positive = 20
    mistakes: Probability = 0.3
    """Share of the commands that name things at random."""
    hindsight: bool = False
    """Whether each episode is told as if its task had been about an object that it happened upon."""
    epochs: PositiveFloat = 2


class Sft(Section):
    """Supervised fine-tuning on the demonstrations (the paper's pi_0)."""

    epochs: PositiveFloat = 3
    optimizer: Literal["adamw", "muon"] = "muon"
    """Muon suits a small model trained from scratch, AdamW a pretrained one."""
    learning_rate: PositiveFloat = 4e-3
    warmup_ratio: Probability = 0.05
    batch_episodes: Positive = 8
    weight_decay: Annotated[float, Field(ge=0)] = 0.01


class Rollouts(Section):
    """How the behaviour policy explores (stage 1 of the paper's Algorithm 1)."""

    games: Positive | None = 300
    """Training games drawn for this iteration; null takes all."""
    per_game: Positive = 2
    """Whole episodes from the start of each game."""
    temperature: Temperature = 1.0
    max_steps: Positive = 30
    branch_states: NotNegative = 2
    """States drawn along each whole episode; from each, other actions are tried."""
    branch_actions: NotNegative = 3
    """Different sampled actions tried from such a state (k); 0 is the paper's way: whole episodes only."""
    branch_continuations: Positive = 1
    """Continuations played after each tried action (m)."""
    branch_draws: Positive = 16
    """Answers drawn in such a state; the first different actions among them are tried."""
    branch_temperature: Temperature = 1.0
    """Temperature at which the actions to try are drawn; they are continued at `temperature`."""
    patience: Annotated[int, Field(ge=2)] | None = None
    """An episode is over, and lost, when it does the same thing with the same reply so many times; null plays on."""
    slots: Positive = 64
    """Episodes played at the same time."""
    max_new_tokens: Positive = 16

    @model_validator(mode="after")
    def draws_suffice(self) -> Self:
        if self.branch_draws < self.branch_actions:
            raise ValueError(
                f"branch_draws {self.branch_draws} is less than branch_actions {self.branch_actions}: so many "
                "different actions can never be drawn"
            )
        return self


class Targets(Section):
    """Monte-Carlo targets (Eq. 1)."""

    gamma: Annotated[float, Field(gt=0, le=1)] = 0.95
    weighting: Literal["return_to_go", "reference"] = "return_to_go"
    """gamma^(T-1-t) as in the paper, or the authors' code's gamma^t on +/-1, for comparison."""
    held_out_games: Probability = 0.15
    """Share of the games whose targets only measure the PRM."""


class HeadTraining(Section):
    """How a model with a scalar head is trained."""

    epochs: PositiveFloat = 3
    optimizer: Literal["adamw", "muon"] = "muon"
    learning_rate: PositiveFloat = 1e-3
    warmup_ratio: Probability = 0.05
    batch_tokens: Positive = 8192
    """Padded tokens of one step."""


class Prm(HeadTraining):
    """The process reward model (Eq. 2)."""

    init: Literal["policy", "base", "previous"] = "policy"
    """Where the trunk starts: the behaviour policy, the untuned base model, or the PRM of the iteration before."""
    loss: Literal["absolute", "relative"] = "absolute"
    """`absolute`: Eq. 2. `relative`: Bradley-Terry on pairs of actions tried in one state (section 4 of the paper);
    values are then known up to what their state adds, and states where one action was tried are not learnt from."""
    margin: Probability = 0.0
    """Least distance of the targets of such a pair; 0 takes all that differ."""
    pairwise_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the pairwise term on states with several tried actions; 0 is the paper's soft BCE alone."""
    branch_turns: Positive = 1
    """How many of a branch's own turns are read: the first is what it was played for."""
    reply_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the value read again behind the environment's reply (`append` dialogues); 0 reads answers alone."""
    bootstrap: Probability = 0.7
    """Share of that second reading in the first one's target at the end of training; 0 is Eq. 1's target alone."""


class InversePrm(HeadTraining):
    """The process reward model learnt from demonstrations, no outcome read (section 3 of the paper, Eqs. 6 to 10)."""

    gamma: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Discount between Q(s, a) and Q(s', a') in the reward (Eq. 8)."""
    draws: Positive = 2
    """Answers a' drawn from the current policy in every state s', over which Q(s', a') is averaged."""


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
    states_per_step: Positive = 192
    states_per_episode: Positive = 8
    """States drawn from one episode for a step: a step that sees few episodes learns their peculiarities."""
    candidates: Annotated[int, Field(ge=2)] = 8
    """Actions sampled by the current policy at each state (n)."""
    rank_by: Literal["answer", "reply"] = "answer"
    """Candidates are ranked by Q(s, a), or by what the PRM says behind the environment's reply to each, played from a
    snapshot of the state: beyond the paper, and only where the environment has snapshots."""
    temperature: Temperature = 1.0
    max_new_tokens: Positive = 16
    beta: PositiveFloat = 1.0
    sft_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the negative log-likelihood of the chosen answer, beside the DPO loss; 0 is the paper's."""
    kl_weight: Annotated[float, Field(ge=0)] = 0.3
    """Weight of KL(pi || pi_(i-1)) per answer over all that was drawn, beside the DPO loss; 0 is the paper's."""
    labels: Literal["hard", "soft"] = "hard"
    """`hard`, the paper's: of a state's best and worst candidate the best wins. `soft`: all pairs of draws, each won
    with the odds that the PRM gives, so that what it hardly tells apart hardly moves the policy."""
    min_gap: Probability = 0.05
    """Pairs whose PRM values differ by less are ties and not trained on."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: PositiveFloat = 3e-4
    warmup_ratio: Probability = 0.1

    @model_validator(mode="after")
    def trl_can(self) -> Self:
        only = {"candidates": 2, "rank_by": "answer", "labels": "hard", "min_gap": 0, "kl_weight": 0, "sft_weight": 0}
        if self.trainer == "trl" and (other := [name for name, value in only.items() if getattr(self, name) != value]):
            needed = ", ".join(f"{name}: {only[name]}" for name in other)
            raise ValueError(f"TRL's OnlineDPOTrainer knows nothing else: trainer: trl needs {needed}")
        return self


class Evaluation(Section):
    """How policies are judged."""

    splits: tuple[Literal["valid_seen", "valid_unseen", "train_held_out"], ...] = ("valid_seen", "valid_unseen")
    games: Positive | None = None
    """Games of each split; null takes all."""
    max_steps: Positive = 30
    temperature: Temperature = 0.0
    best_of: Annotated[tuple[Annotated[int, Field(ge=2)], ...], BeforeValidator(_one_or_several)] = (8,)
    """N of Best-of-N, reported beside the greedy policy; one or several."""
    ranked_by: Annotated[tuple[Literal["reward", "log_ratio"], ...], BeforeValidator(_one_or_several)] = ("reward",)
    """Who chooses among N answers: the reward model (`improvement.reward`), or log pi_i - log pi_(i-1), which needs
    none and which pi_0 has not; one or both."""
    best_of_temperature: Temperature = 1.0
    best_of_prior: Annotated[float, Field(ge=0)] = 0.0
    """Weight of log pi beside the PRM's logit where Best-of-N chooses; 0, the paper's, chooses by the PRM alone.
    The answer taken is the mode, among those drawn, of Eq. 3's optimum with this weight for beta."""


class Gates(Section):
    """What blocks an iteration from going on."""

    min_demonstration_success: Probability = 0.5
    max_parse_failures: Probability = 0.05
    min_wins: Positive = 10
    min_losses: Positive = 10
    max_prm_loss: PositiveFloat = 1.0
    """Held-out loss of the PRM as a multiple of the loss of always answering the mean target; must stay below."""
    min_ordering_accuracy: Probability = 0.5
    """Share of held-out pairs of tried actions, weighted by the distance of their returns, that the PRM orders as these
    do: what the lower end of its 95% interval must reach. Chance is 0.5; 0 switches the gate off."""
    max_kl: PositiveFloat = 20.0
    """Nats per answer between the improved policy and its reference."""


class Experiment(Section):
    """Everything that decides what an experiment makes."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    description: str = ""
    seed: NotNegative = 0
    iterations: Positive = 2
    games: Games = Games()
    demonstrations: Demonstrations = Demonstrations()
    dialogue: Dialogue = Dialogue()
    model: Model = Model()
    pretraining: Pretraining = Pretraining()
    sft: Sft = Sft()
    rollouts: Rollouts = Rollouts()
    targets: Targets = Targets()
    prm: Prm = Prm()
    inverse_prm: InversePrm = InversePrm()
    improvement: Improvement = Improvement()
    evaluation: Evaluation = Evaluation()
    gates: Gates = Gates()

    @model_validator(mode="after")
    def base_model_knows_something(self) -> Self:
        if self.prm.init == "base" and self.model.name == "embedded":
            raise ValueError("prm.init: base needs a pretrained model.name; the embedded model is random before SFT")
        return self

    @model_validator(mode="after")
    def only_scratch_is_pretrained(self) -> Self:
        if self.pretraining.episodes and self.model.name != "embedded":
            raise ValueError(f"pretraining is for model.name: embedded; {self.model.name} is pretrained already")
        return self

    @model_validator(mode="after")
    def replies_are_read(self) -> Self:
        if self.improvement.rank_by == "reply" and (self.dialogue.format != "append" or not self.prm.reply_weight):
            raise ValueError(
                "improvement.rank_by: reply needs values behind replies: dialogue.format: append and prm.reply_weight "
                "above 0"
            )
        return self

    @model_validator(mode="after")
    def pairs_are_read_together(self) -> Self:
        if self.prm.loss == "relative" and self.dialogue.format != "append":
            raise ValueError("prm.loss: relative compares answers that are read together: dialogue.format: append")
        return self

    @model_validator(mode="after")
    def inverse_prm_reads_answers(self) -> Self:
        if self.improvement.reward == "inverse_prm" and self.improvement.rank_by == "reply":
            raise ValueError("improvement.rank_by: reply needs values behind replies; improvement.reward: prm has them")
        return self

    @model_validator(mode="after")
    def games_are_held_out(self) -> Self:
        if self.improvement.games == "held_out" and not self.targets.held_out_games:
            raise ValueError("improvement.games: held_out needs targets.held_out_games above 0")
        return self

    @model_validator(mode="after")
    def splits_exist(self) -> Self:
        if "train_held_out" in self.evaluation.splits and not self.games.held_out_rooms:
            raise ValueError("evaluation.splits names train_held_out: set games.held_out_rooms above 0 to make it")
        return self
