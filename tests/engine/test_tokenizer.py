"""The tokenizer for text games: exact, an entity a token."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from agentprm_dagster.engine.tokenizer import ASSISTANT, END, PAD, SPECIAL_TOKENS, UNKNOWN, build_tokenizer
from agentprm_dagster.episodes.records import Episode

PIECES = ["cabinet 10", "cabinet 1", "mug 2", "a", "the", ",", ".", ":", "\n", "\n\n", " ", "go to", "27", "don't"]
SMALL = build_tokenizer([f"{a}{b}" for a in PIECES for b in [*PIECES, *(f" {piece}" for piece in PIECES)]])


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


def test_what_games_say_is_read_back_exactly(tokenizer: PreTrainedTokenizerFast, corpus: list[str]) -> None:
    for text in set(corpus):
        assert tokenizer.decode(encode(tokenizer, text)) == text


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(alphabet="abc 12.,\n'"))
def test_what_is_not_read_back_exactly_was_unknown(text: str) -> None:
    ids = encode(SMALL, text)
    assert SMALL.decode(ids) == text or SMALL.unk_token_id in ids


@pytest.mark.parametrize("entity", ["cabinet 10", "mug 2"])
def test_an_entity_is_one_token(entity: str) -> None:
    tokenizer = build_tokenizer([f"{entity} and a {entity}, no mug", "cabinet 10, mug 2"])
    (first,) = encode(tokenizer, entity)
    (later,) = encode(tokenizer, f" {entity}")
    assert tokenizer.decode([first, later]) == f"{entity} {entity}"
    assert len(encode(tokenizer, f" {entity}, {entity}")) == 3, "the comma alone stands between"


def test_every_entity_of_the_games_is_one_token(
    tokenizer: PreTrainedTokenizerFast, demonstrations: list[Episode]
) -> None:
    entities = {entity for episode in demonstrations for entity in re.findall(r"[a-z]+ \d+", episode.first_observation)}
    assert len(entities) > 20
    assert all(len(encode(tokenizer, f" {entity}")) == 1 for entity in entities)


def test_numbers_that_the_corpus_leaves_out_are_tokens_too() -> None:
    tokenizer = build_tokenizer(["You see a cabinet 4, and a mug 1."])
    for entity in ("cabinet 1", "cabinet 2", "cabinet 3", "cabinet 4", "cabinet 5", "cabinet 6", "mug 2", "mug 3"):
        assert tokenizer.tokenize(f"You see a {entity}.") == ["You", " see", " a", f" {entity}", "."]
    for entity in ("cabinet 7", "mug 4"):
        assert tokenizer.tokenize(f"You see a {entity}.")[3] == UNKNOWN


def test_a_stretch_that_the_corpus_repeats_is_one_token() -> None:
    often, rarely = ["You arrive at mug 1."] * 20, ["You leave from mug 1."] * 19
    tokenizer = build_tokenizer([*often, *rarely])
    assert tokenizer.tokenize("You arrive at mug 1.") == ["You arrive at", " mug 1", "."]
    assert tokenizer.tokenize("You leave from mug 1.") == ["You", " leave", " from", " mug 1", "."]
    assert tokenizer.tokenize("You arrive from mug 1.") == ["You", " arrive", " from", " mug 1", "."]


def test_special_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.convert_ids_to_tokens(range(6)) == list(SPECIAL_TOKENS)
    assert (tokenizer.pad_token, tokenizer.unk_token, tokenizer.eos_token) == (PAD, UNKNOWN, END)
    assert set(tokenizer.all_special_tokens) == set(SPECIAL_TOKENS)
    assert tokenizer.tokenize(f"{ASSISTANT}look{END}")[0::2] == [ASSISTANT, END]


def test_the_order_of_the_texts_does_not_matter(corpus: list[str], tokenizer: PreTrainedTokenizerFast) -> None:
    assert build_tokenizer(reversed(corpus)).get_vocab() == tokenizer.get_vocab()


def test_it_is_saved_and_loaded_like_any_other(
    tokenizer: PreTrainedTokenizerFast, corpus: list[str], tmp_path: Path
) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded.chat_template == tokenizer.chat_template
    assert loaded.all_special_ids == tokenizer.all_special_ids
    for text in corpus[:20]:
        assert encode(loaded, text) == encode(tokenizer, text)
        assert loaded.decode(encode(loaded, text)) == text


def test_a_corpus_without_entities() -> None:
    tokenizer = build_tokenizer(["Nothing happens."])
    assert tokenizer.decode(encode(tokenizer, "Nothing happens.")) == "Nothing happens."
