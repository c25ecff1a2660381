"""What a score that cannot be made, read or compared is refused with."""


class ScoreError(ValueError):
    """What was expected of an agent, a panel or a card, what came, and what to do."""
