"""Text that strangers wrote, made fit to be stored: PostgreSQL takes no NUL, and no half of a character."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def storable(text: str, *, length_max: int) -> str:
    """
    Return *text* cut to *length_max* characters, a mark in place of each that cannot be printed.

    New lines and tabs stay. What an outside engine says is kept to be read, and must never keep what it
    did from being written down.
    """
    return "".join(
        char if char.isprintable() or char in "\n\t" else REPLACEMENT for char in text[:length_max]
    )
