"""The words of the game: ALFWorld's own grammar sentences, which are Python format strings as they stand.

`{o.name}` and `{r.name}` are what the grammar itself writes, so each sentence can be looked for in a game file
(are these the words this file would speak?) and filled in with `str.format`.
"""

from collections.abc import Sequence

WELCOME = "-= Welcome to TextWorld, ALFRED! =-"
TASK = "Your task is to: "
NOTHING_HAPPENS = "Nothing happens."

ARRIVE = "You arrive at {r.name}. "
OPEN = "You open the {r.name}. "
CLOSE = "You close the {r.name}."
TAKE = "You pick up the {o.name} from the {r.name}."
MOVE = "You move the {o.name} to the {r.name}."
CLEAN = "You clean the {o.name} using the {r.name}."
HEAT = "You heat the {o.name} using the {r.name}."
COOL = "You cool the {o.name} using the {r.name}."
USE = "You turn on the {o.name}."
SLICE = "You sliced the {co.name} with the {ko.name}."

IS_OPEN = "The {r.name} is open. In it, you see "
IS_CLOSED = "The {r.name} is closed."
ON_IT = "On the {r.name}, you see "

CARRYING = "You are carrying: "
NOT_CARRYING = "You are not carrying anything."

MIDDLE = "You are in the middle of a room. Looking quickly around you, you see "
FACING = "You are facing the "
NEXT_TO_IT = ". Next to it, you see "

CONTAINER = "This is a normal {o.name}. In it, you see "
PLAIN = "There's nothing special about {o.name}."
EXAMINED = (
    (("clean", "hot", "sliced"), "This is a hot and clean sliced {o.name}."),
    (("clean", "cool", "sliced"), "This is a cool and clean sliced {o.name}."),
    (("clean", "sliced"), "This is a clean sliced {o.name}."),
    (("hot", "sliced"), "This is a hot sliced {o.name}."),
    (("cool", "sliced"), "This is a cool sliced {o.name}."),
    (("clean", "hot"), "This is a hot and clean {o.name}."),
    (("clean", "cool"), "This is a cool and clean {o.name}."),
    (("hot",), "This is a hot {o.name}."),
    (("clean",), "This is a clean {o.name}."),
    (("cool",), "This is a cold {o.name}."),
    (("toggled",), "This {o.name} is on."),
    (("sliced",), "This is a sliced {o.name}."),
)
"""What examining an object says: the first line whose states all hold."""

HELP_LINES = (
    "Available commands:",
    "  look:                             look around your current location",
    "  inventory:                        check your current inventory",
    "  go to (receptacle):               move to a receptacle",
    "  open (receptacle):                open a receptacle",
    "  close (receptacle):               close a receptacle",
    "  take (object) from (receptacle):  take an object from a receptacle",
    "  move (object) to (receptacle):  place an object in or on a receptacle",
    "  examine (something):              examine a receptacle or an object",
    "  use (object):                     use an object",
    "  heat (object) with (receptacle):  heat an object using a receptacle",
    "  clean (object) with (receptacle): clean an object using a receptacle",
    "  cool (object) with (receptacle):  cool an object using a receptacle",
    "  slice (object) with (object):     slice an object using a sharp object",
)
HELP = "\n".join(HELP_LINES) + "\n"

SENTENCES = (
    *(WELCOME, TASK, ARRIVE, OPEN, CLOSE, TAKE, MOVE, CLEAN, HEAT, COOL, USE, SLICE, IS_OPEN, IS_CLOSED, ON_IT),
    *(CARRYING, NOT_CARRYING, MIDDLE, FACING, NEXT_TO_IT, CONTAINER, PLAIN),
    *(sentence for _, sentence in EXAMINED),
    *HELP_LINES,
)
"""Every sentence above as it stands in the grammar of a game file that speaks them."""


def listing(names: Sequence[str]) -> str:
    """A list as the grammar writes it: "nothing", "a", "a, and b", "a, b, and c"."""
    if not names:
        return "nothing"
    if len(names) == 1:
        return names[0]
    return ", ".join(names[:-1]) + ", and " + names[-1]


def a_list(names: Sequence[str]) -> str:
    """A list of things: "a mug 1, and a apple 2"; the grammar knows no "an"."""
    return listing([f"a {name}" for name in names])
