"""Text of an episode made fit to be shown: what an environment or a model has written may hold anything."""


def visible(text: str, most: int | None = None) -> str:
    """The text with everything written out that a terminal or a page would act on instead of showing it.

    Such are control characters, marks that turn the direction of writing, and halves of surrogate pairs; line breaks
    and tabs stay. A text of more than `most` characters is cut, and says so.
    """
    cut = text if most is None or len(text) <= most else text[:most]
    shown = "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode()
        for character in cut.replace("\r\n", "\n")
    )
    return shown if cut is text else f"{shown} ... ({len(text) - len(cut):,} more characters)"


def one_line(text: str, most: int | None = None) -> str:
    """The same on one line."""
    return visible(" ".join(text.split()), most)
