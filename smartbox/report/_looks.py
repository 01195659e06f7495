"""Which curve looks how: the same mitigation and the same detector alike in every figure of a report."""

_COLORFUL = (0, 2, 3, 4, 5)  # less the colour of what was attacked and is not mitigated, and that of the text


def of_mitigation(i):
    """Number of a look; past the five colours the marker changes."""
    return _COLORFUL[i % len(_COLORFUL)] + 7 * (i // len(_COLORFUL))
