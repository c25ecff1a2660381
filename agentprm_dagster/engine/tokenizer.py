"""A tokenizer for text games, built from a corpus: an entity such as "cabinet 10" is one token.

One token a word and a digit group hides from a small model that "cabinet 10" is one thing to copy; with entity tokens
it learns to copy from far less data. Entities are numbered on beyond those of the corpus, so that a game with one mug
more than was ever shown is read and answered exactly. The text between entities comes from a few templates, so a
stretch that the corpus repeats often is one token as well; all else is words. Tokens carry their leading blank:
decoding is concatenation and gives back the exact text.
"""

import re
from collections import Counter
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, SYSTEM, USER, ASSISTANT, END = "<|pad|>", "<|unk|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
SPECIAL_TOKENS = (PAD, UNKNOWN, SYSTEM, USER, ASSISTANT, END)

# The generation markers tell SFT which tokens are the agent's own; the end token belongs to them.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

SPARE_NUMBERS = 2
"""How far entities are numbered beyond the largest number seen of their kind: another game may hold one more."""

_ENTITY = re.compile(r"( ?\b[a-z]+) (\d+)\b")
_WORD = r" ?[A-Za-z']+| ?\d+|\n+| ?[^\sA-Za-z\d]| "


def build_tokenizer(texts: Iterable[str], *, frequent: int = 20) -> PreTrainedTokenizerFast:
    """Builds the vocabulary from message texts; stretches between entities seen `frequent` times become tokens."""
    corpus = list(texts)
    entities = _entities(corpus)
    kinds = sorted({entity.split()[0] for entity in entities})
    thing = rf" ?\b(?:{'|'.join(kinds)})\b(?: \d+\b)?" if kinds else r"(?!)"
    stretches = Counter(part for text in corpus for part in re.split(f"(?:{thing})", text) if part)
    phrases = sorted((s for s, n in stretches.items() if n >= frequent and len(s) > 1), key=lambda s: (-len(s), s))
    pattern = "|".join([f"(?:{thing})", *map(_literal, phrases), _WORD])
    words = sorted({part for text in corpus for part in re.findall(pattern, text)})
    # Single words as well: a stretch seen rarely in another text is then still known word by word.
    single = sorted({part for stretch in stretches for part in re.findall(_WORD, stretch)})
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys([*SPECIAL_TOKENS, *words, *single, *entities]))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def _entities(corpus: Iterable[str]) -> list[str]:
    """Every kind of entity seen, numbered from 1 without gaps; with its leading blank where it was seen with one."""
    largest: dict[str, int] = {}
    for text in corpus:
        for kind, number in _ENTITY.findall(text):
            largest[kind] = max(largest.get(kind, 0), int(number))
    return [
        f"{kind} {number}" for kind, seen in sorted(largest.items()) for number in range(1, seen + SPARE_NUMBERS + 1)
    ]


def _literal(phrase: str) -> str:
    """A pattern that matches the phrase where no word goes on at its end."""
    return re.escape(phrase) + (r"\b" if phrase[-1].isalnum() else "")
