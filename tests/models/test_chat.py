"""Dialogues encoded piece by piece are what the tokenizer's chat template makes of the whole."""

import copy

import pytest
from transformers import PreTrainedTokenizerFast

from agentprm_dagster.core.dialogue import RULES, conversation, opening
from agentprm_dagster.core.types import Episode
from agentprm_dagster.models.chat import Chat, ChatTemplateError


@pytest.fixture(scope="module")
def chat(tokenizer: PreTrainedTokenizerFast) -> Chat:
    return Chat(tokenizer)


def whole(tokenizer: PreTrainedTokenizerFast, episode: Episode) -> dict[str, list[int]]:
    """The conversation through the template in one go, with the mask of the agent's own tokens."""
    return tokenizer.apply_chat_template(
        conversation(episode.first_observation, episode.turns),
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )


def test_the_embedded_template_byte_for_byte(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [*opening("You see a desk 1."), {"role": "assistant", "content": "REASON: I look.\nACTION: look"}]
    told = tokenizer.apply_chat_template(messages, tokenize=False)
    assert told == (f"<|system|>{RULES}<|user|>You see a desk 1.<|assistant|>REASON: I look.\nACTION: look<|end|>")
    prompt = tokenizer.apply_chat_template(opening("You see a desk 1."), tokenize=False, add_generation_prompt=True)
    assert told.startswith(prompt)
    assert prompt.endswith("<|assistant|>")


def test_pieces_are_the_whole(
    chat: Chat, tokenizer: PreTrainedTokenizerFast, demonstrations: list[Episode], rollouts: list[Episode]
) -> None:
    for episode in [*demonstrations, *rollouts[::5]]:
        expected = whole(tokenizer, episode)
        encoded = chat.episode(episode.first_observation, episode.turns)
        assert encoded.ids == expected["input_ids"]
        own = [start <= i < end for i in range(len(encoded.ids)) for start, end in [_answer_at(encoded.answers, i)]]
        assert own == [bool(mark) for mark in expected["assistant_masks"]]


def _answer_at(answers: list[tuple[int, int]], i: int) -> tuple[int, int]:
    return next((span for span in answers if i < span[1]), (0, 0))


def test_answers_are_the_responses(chat: Chat, demonstrations: list[Episode]) -> None:
    for episode in demonstrations:
        encoded = chat.episode(episode.first_observation, episode.turns)
        assert len(encoded.answers) == len(episode.turns)
        for (start, end), turn in zip(encoded.answers, episode.turns, strict=True):
            assert encoded.ids[end - 1] == chat.end
            assert chat.decode(encoded.ids[start : end - 1]) == turn.response


def test_a_conversation_grows_by_answer_and_follow_up(chat: Chat, demonstrations: list[Episode]) -> None:
    episode = demonstrations[0]
    ids = chat.prompt(opening(episode.first_observation))
    for t, turn in enumerate(episode.turns):
        assert ids == chat.prompt(conversation(episode.first_observation, episode.turns[:t], last_observation=True))
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
CLOSES_OTHERWISE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
COUNTS = "{{ messages | length }}" + CLOSES_OTHERWISE


@pytest.mark.parametrize("template", [FORGETS_ANSWERS, CLOSES_OTHERWISE, COUNTS])
def test_a_template_that_does_not_only_append_is_refused(tokenizer: PreTrainedTokenizerFast, template: str) -> None:
    chat = Chat(with_template(tokenizer, template))
    with pytest.raises(ChatTemplateError, match=r"only appends and closes an answer with '<\|end\|>', got"):
        chat.follow_up("Nothing happens.")


def test_a_tokenizer_without_a_template_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ChatTemplateError, match="has no chat template: use an instruction-tuned model"):
        Chat(with_template(tokenizer, None))


def test_a_template_that_frames_its_messages(tokenizer: PreTrainedTokenizerFast, demonstrations: list[Episode]) -> None:
    # As SmolLM2's or Qwen's: something stands between an answer's end token and the next message.
    template = (
        "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    )
    framed = with_template(tokenizer, template)
    for episode in demonstrations[:3]:
        encoded = Chat(framed).episode(episode.first_observation, episode.turns)
        told = framed.apply_chat_template(conversation(episode.first_observation, episode.turns), tokenize=False)
        assert framed.decode(encoded.ids) == told.removesuffix("\n")
