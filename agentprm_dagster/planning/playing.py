"""What stages take that play episodes."""

from agentprm_dagster.planning.memory import BYTES, Memory
from agentprm_dagster.planning.setup import Setup, Stage


def demonstrations(setup: Setup) -> Stage:
    """A rule shows them, or a language model behind a server, which takes its own time."""
    shown = setup.experiment.demonstrations
    turns = setup.expert_turns
    if shown.expert != "llm":
        return Stage(name="demonstrations", seconds=0)
    talk = setup.talk()
    drawn, read = shown.episodes * turns * talk.answer, shown.episodes * talk.read(turns)
    return Stage(name="demonstrations", seconds=0, read=read, drawn=drawn, on="served")


def rollouts(setup: Setup) -> Stage:
    """Whole episodes, and branches from the middle of them on average."""
    settings, talk = setup.experiment.rollouts, setup.talk(setup.experiment.rollouts.max_new_tokens)
    turns = setup.turns
    branches = settings.branch_states * settings.branch_actions * settings.branch_continuations
    episodes = setup.explored * settings.per_game
    drawn = episodes * turns * talk.answer * (1 + branches / 2)
    read = episodes * (talk.read(turns) + branches * (talk.read(turns) - talk.read(1)) / 2)
    return _playing("rollouts", setup, read, drawn, talk.longest(settings.max_steps))


def eval_report(setup: Setup) -> Stage:
    """pi_0 and pi_1, greedy and each Best-of-N by a reward model if there is one, on all games of the splits."""
    settings, counts = setup.experiment.evaluation, setup.experiment.environment.counts
    talk = setup.talk(setup.experiment.rollouts.max_new_tokens)
    turns = setup.turns
    games = sum(settings.games or counts[split] or setup.assumed.valid_games for split in settings.splits)
    judged = setup.experiment.improvement.reward is not None
    best_of = settings.best_of if judged else ()
    answers = 1 + sum(best_of)  # greedy, then each N
    episodes = 2 * games  # of pi_0 and pi_1
    drawn = episodes * turns * talk.answer * answers
    # The PRM reads what is ranked, prompts and answers, and the greedy episodes once they are played.
    read = episodes * ((1 + judged + 2 * len(best_of)) * talk.read(turns) + turns * talk.answer * sum(best_of))
    return _playing(
        "eval_report",
        setup,
        read,
        drawn,
        talk.longest(settings.max_steps) + talk.answer * max(best_of, default=1),
        models=1 + judged,
    )


def _playing(name: str, setup: Setup, read: float, drawn: float, longest: float, *, models: int = 1) -> Stage:
    """A stage that plays; `models` of them are in memory, each with the conversations of all slots, or of one."""
    engine, shape = setup.engine, setup.shape
    if engine.kind == "embedded":
        seconds = 2 * shape.policy * (read + drawn) / setup.assumed.cpu
        return Stage(name=name, parameters=shape.policy, read=read, drawn=drawn, seconds=seconds)
    size = BYTES[setup.dtype]
    # vLLM keeps as many conversations as find room; one must.
    slots = 1 if engine.kind == "vllm" else setup.experiment.rollouts.slots
    memory = Memory(
        weights=models * size * shape.policy / getattr(engine, "tensor_parallel", 1),
        cache=models * size * shape.cached * slots * longest,
    )
    gpus = getattr(engine, "replicas", 1) * getattr(engine, "tensor_parallel", 1)
    assumed = setup.assumed
    device = assumed.peak_bfloat16 if size == 2 else assumed.peak_float32
    seconds = 2 * shape.policy * (read / assumed.prefill + drawn / assumed.decode) / (gpus * device)
    return Stage(name=name, parameters=shape.policy, read=read, drawn=drawn, seconds=seconds, memory=memory, on="GPU")
