"""Dialogues encoded piece by piece are what the tokenizer's chat template makes of the whole."""

import copy
from typing import Any, get_args

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from agentprm_dagster.engine.chat import TRIAL_START, TRIAL_TURNS, Chat
from agentprm_dagster.engine.templates import ChatTemplateError
from agentprm_dagster.envs.alfworld.language import RULES, WORDING
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from pretrained import ASKING, BODY, CHATML, byte_tokenizer


@pytest.fixture(scope="module")
def chat(tokenizer: PreTrainedTokenizerFast) -> Chat:
    return Chat(tokenizer, WORDING)


def whole(tokenizer: PreTrainedTokenizerFast, episode: Episode) -> dict[str, list[int]]:
    """The conversation through the template in one go, with the mask of the agent's own tokens."""
    return tokenizer.apply_chat_template(
        WORDING.conversation(episode.first_observation, episode.turns),
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )


def test_the_embedded_template_byte_for_byte(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [
        *WORDING.opening("You see a desk 1."),
        {"role": "assistant", "content": "REASON: I look.\nACTION: look"},
    ]
    told = tokenizer.apply_chat_template(messages, tokenize=False)
    assert told == (f"<|system|>{RULES}<|user|>You see a desk 1.<|assistant|>REASON: I look.\nACTION: look<|end|>")
    prompt = tokenizer.apply_chat_template(
        WORDING.opening("You see a desk 1."), tokenize=False, add_generation_prompt=True
    )
    assert told.startswith(prompt)
    assert prompt.endswith("<|assistant|>")


def test_pieces_are_the_whole(
    chat: Chat, tokenizer: PreTrainedTokenizerFast, demonstrations: list[Episode], rollouts: list[Episode]
) -> None:
    for episode in [*demonstrations, *rollouts[::5]]:
        expected = whole(tokenizer, episode)
        (encoded,) = chat.conversations(episode)
        assert encoded.ids == expected["input_ids"]
        own = [start <= i < end for i in range(len(encoded.ids)) for start, end in [_answer_at(encoded.answers, i)]]
        assert own == [bool(mark) for mark in expected["assistant_masks"]]


def _answer_at(answers: list[tuple[int, int]], i: int) -> tuple[int, int]:
    return next((span for span in answers if i < span[1]), (0, 0))


def test_answers_are_the_responses(chat: Chat, demonstrations: list[Episode]) -> None:
    for episode in demonstrations:
        (encoded,) = chat.conversations(episode)
        assert len(encoded.answers) == len(episode.turns)
        for (start, end), turn in zip(encoded.answers, episode.turns, strict=True):
            assert encoded.ids[end - 1] == chat.end
            assert chat.decode(encoded.ids[start : end - 1]) == turn.response


def test_a_turn_asked_about_alone_is_read_as_in_the_whole(chat: Chat, demonstrations: list[Episode]) -> None:
    for episode in demonstrations[:5]:
        (whole,) = chat.conversations(episode)
        for t in whole.turns:
            (alone,) = chat.conversations(episode, "append", [t])
            assert alone == whole.only([t])
            assert alone.prompt == chat.state(episode.first_observation, episode.turns[:t])
    assert chat.conversations(demonstrations[0], "append", []) == chat.conversations(demonstrations[0], "restated", [])


def test_a_conversation_grows_by_answer_and_follow_up(chat: Chat, demonstrations: list[Episode]) -> None:
    episode = demonstrations[0]
    ids = chat.prompt(WORDING.opening(episode.first_observation))
    for t, turn in enumerate(episode.turns):
        assert ids == chat.prompt(
            WORDING.conversation(episode.first_observation, episode.turns[:t], last_observation=True)
        )
        ids += chat.answer(turn.response) + chat.follow_up(turn.observation)


def with_template(tokenizer: PreTrainedTokenizerFast, template: str | None) -> PreTrainedTokenizerFast:
    changed = copy.deepcopy(tokenizer)
    changed.chat_template = template
    return changed


FORGETS_ANSWERS = (
    "{% for message in messages %}{% if message['role'] != 'assistant' or loop.last %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
CLOSES_WITH_WORDS = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


@pytest.mark.parametrize("template", [FORGETS_ANSWERS, CLOSES_WITH_WORDS])
def test_a_template_that_closes_no_answer_is_refused(tokenizer: PreTrainedTokenizerFast, template: str) -> None:
    with pytest.raises(ChatTemplateError, match=r"closes an answer with a token of its own, got .*: use another model"):
        Chat(with_template(tokenizer, template), WORDING)


def each(body: str) -> str:
    return "{% for m in messages %}" + body + "{% endfor %}"


SYSTEM = "{% set s = messages[0]['content'] if messages[0]['role'] == 'system' else '' %}"
ALTERNATING = (
    "{% set o = 1 if messages[0]['role'] == 'system' else 0 %}{% for m in messages %}{% if m['role'] != 'system' and "
    "(m['role'] == 'user') != ((loop.index0 - o) % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
)
MISTRAL = (
    "{% if m['role'] == 'user' %}{{ '<|im_start|>' + (s + '\n\n' if WHERE and s else '') + m['content'] + '\n' }}"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] + '<|im_end|>' }}{% endif %}"
)
WRITTEN: dict[str, dict[str, Any]] = {
    "ChatML": {},
    "a system message of its own": {
        "template": "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nHello.<|im_end|>\n{% endif %}" + CHATML
    },
    "roles alternate": {"template": ALTERNATING + BODY + "{% endfor %}" + ASKING},
    "no end of text": {"end": None},
    "end of text is not the end of a turn": {"end": "<|endoftext|>"},
    "nothing to pad with": {"pad": None},
    "padded with the end": {"pad": "<|im_end|>"},
    "begins twice": {"template": "{{ bos_token }}" + CHATML, "begins": True},
    "strips contents": {"template": CHATML.replace("m['content']", "m['content'] | trim")},
    "rules with the first message": {"template": SYSTEM + each(MISTRAL.replace("WHERE", "loop.index0 <= 1"))},
    "says the date": {"template": "{{ '<|im_start|>' + strftime_now('%d %b %Y %f') }}" + CHATML},
    "named": {"template": {"default": CHATML, "tools": "{{ tools }}"}},
}
REFUSES_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML
RESTATED_ALONE = {
    "refuses a system role": (REFUSES_SYSTEM, r"roles system, user \(no system\)"),
    "rules with the last message": (SYSTEM + each(MISTRAL.replace("WHERE", "loop.last")), "only appends"),
    "numbers turns": (each(BODY.replace("'\n' +", "loop.index|string + '\n' +")) + ASKING, "only appends"),
    "draws at random": (CHATML.replace("['role'] + '\n'", "['role'] + '\n' * range(1, 99) | random"), "only appends"),
    "counts messages": ("{{ messages | length }}" + CHATML, "only appends"),
    "a blank before answers": (
        each("{{ ('<|im_start|>' if m['role'] != 'assistant' else ' ') + m['content'] + '<|im_end|>' }}"),
        "only appends",
    ),
    "empty thoughts in the prompt": (
        CHATML.replace("assistant\n'", "assistant\n<think>\n\n</think>\n\n'"),
        "only appends",
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_template_that_only_appends(name: str, demonstrations: list[Episode]) -> None:
    tokenizer = byte_tokenizer(**WRITTEN[name])
    chat, episode = Chat(tokenizer, WORDING), demonstrations[0]
    for dialogue in get_args(Format):
        chat.require(dialogue)
    assert tokenizer.convert_ids_to_tokens(chat.end) == "<|im_end|>"
    for count in range(len(episode.turns) + 1):
        turns = episode.turns[:count]
        messages = WORDING.conversation(episode.first_observation, turns, last_observation=True)
        text = chat.text(messages)
        assert chat.state(episode.first_observation, turns) == tokenizer.encode(text, add_special_tokens=False)
    again = Chat(copy.deepcopy(tokenizer), WORDING)
    assert again.state(episode.first_observation, turns) == chat.state(episode.first_observation, turns)
    closing = chat.closing_tokenizer()
    assert (closing.eos_token_id, closing.pad_token) == (chat.end, tokenizer.pad_token or "<|im_end|>")


@pytest.mark.parametrize("name", RESTATED_ALONE)
def test_a_template_that_works_where_turns_restate_the_history(name: str, demonstrations: list[Episode]) -> None:
    template, told = RESTATED_ALONE[name]
    chat, episode = Chat(byte_tokenizer(template), WORDING), demonstrations[0]
    chat.require("restated")
    (encoded,) = chat.conversations(episode, "restated", [1])
    assert encoded.ids[-1] == chat.end
    with pytest.raises(ChatTemplateError, match=f"{told}.*dialogue.format: restated, or another model"):
        chat.require("append")
    with pytest.raises(ChatTemplateError, match="restated"):
        chat.state(episode.first_observation, episode.turns[:2])


def metaspace_tokenizer(scheme: str, rstrip: bool) -> PreTrainedTokenizerFast:
    """As of Llama 2, Mistral or Phi-3: a blank before the first word, or words behind tokens that swallow blanks."""
    plain = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    plain.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    blanks = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    plain.decoder = decoders.Sequence(blanks)
    # Line breaks are bytes by themselves, as they are in these models.
    texts = [
        text for message in WORDING.conversation(TRIAL_START, TRIAL_TURNS) for text in message["content"].split("\n")
    ]
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=tokens, show_progress=False)
    plain.train_from_iterator(texts, trainer)
    special = [AddedToken(name, rstrip=rstrip, special=True) for name in ("<|im_start|>", "<|im_end|>")]
    wrapped = PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<unk>", pad_token="<unk>")
    wrapped.add_special_tokens({"additional_special_tokens": special})
    wrapped.chat_template = CHATML
    return wrapped


@pytest.mark.parametrize("rstrip", [False, True])
@pytest.mark.parametrize("scheme", ["always", "first", "never"])
def test_a_tokenizer_that_treats_beginnings_otherwise(scheme: str, rstrip: bool) -> None:
    tokenizer = metaspace_tokenizer(scheme, rstrip)
    chat = Chat(tokenizer, WORDING)
    chat.require("append")
    whole = chat.text(WORDING.conversation(TRIAL_START, TRIAL_TURNS, last_observation=True))
    assert chat.state(TRIAL_START, TRIAL_TURNS) == tokenizer.encode(whole, add_special_tokens=False)
    assert chat.decode(chat.answer(TRIAL_TURNS[0].response)[:-1]) == TRIAL_TURNS[0].response


def test_a_tokenizer_that_changes_letters_is_refused() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    for dialogue in get_args(Format):
        with pytest.raises(ChatTemplateError, match=r"gives an answer back as it was written, .*got 'reason"):
            Chat(tokenizer, WORDING).require(dialogue)


def test_a_follow_up_frames_its_observation() -> None:
    chat = Chat(byte_tokenizer(), WORDING)
    before, after = chat.delimiters
    assert chat.decode([*before, *after]) == "\n<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n"


def test_a_tokenizer_without_a_template_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ChatTemplateError, match="has no chat template: use an instruction-tuned model"):
        Chat(with_template(tokenizer, None), WORDING)


def test_a_template_that_frames_its_messages(tokenizer: PreTrainedTokenizerFast, demonstrations: list[Episode]) -> None:
    # As SmolLM2's or Qwen's: something stands between an answer's end token and the next message.
    template = (
        "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    )
    framed = with_template(tokenizer, template)
    for episode in demonstrations[:3]:
        (encoded,) = Chat(framed, WORDING).conversations(episode)
        told = framed.apply_chat_template(
            WORDING.conversation(episode.first_observation, episode.turns), tokenize=False
        )
        assert framed.decode(encoded.ids) == told.removesuffix("\n")
