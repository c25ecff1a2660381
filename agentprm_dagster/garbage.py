"""How often Python looks for objects that only refer to each other.

Stages keep hundreds of thousands of small objects: turns, tokens, states. By default Python goes through them again and
again while they are made, which is two thirds of the time that reading a table of episodes takes, and finds nothing:
they form no cycles.
"""

import gc


def look_rarely() -> None:
    """For the rest of this process: after every 50,000 new objects, through older ones a hundred times more rarely."""
    gc.set_threshold(50_000, 20, 100)
