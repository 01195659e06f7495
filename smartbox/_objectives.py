"""What an attack climbs: functions of the logits with their exact cotangents.

Every objective takes ``(ops, logits, is_label)``: an array namespace (``numpy`` or ``keras.ops``), logits ``(n, k)`` and a
boolean ``(n, k)`` that marks each row's label. It returns ``(values (n,), cotangents (n, k))`` where cotangents are the
derivative of the values by the logits. One formula thus serves both a compiled network and a NumPy model. All objectives grow
as the label loses, so that attacks ascend untargeted and descend towards a target.
"""

# Replaces the label's logit where the others are compared. Large, yet finite, so that differences of it stay numbers.
_LOWEST = -3.0e38


def odds(ops, logits, is_label):
    """``logsumexp of the other logits - logit of the label``: the log of the odds against the label.

    Cross-entropy is its softplus, so both point the same way, but this one never saturates in float32.
    """
    others = ops.where(is_label, _LOWEST, logits)
    top = ops.max(others, axis=1, keepdims=True)
    weights = ops.exp(others - top)
    total = ops.sum(weights, axis=1, keepdims=True)
    label_logit = ops.sum(ops.where(is_label, logits, 0.0), axis=1)
    values = ops.log(total[:, 0]) + top[:, 0] - label_logit
    return values, ops.where(is_label, -1.0, weights / total)


def cross_entropy(ops, logits, is_label):
    """``-log softmax(logits)[label]``, exact at any margin: the softplus of the odds."""
    values, cotangents = odds(ops, logits, is_label)
    small = ops.exp(-ops.abs(values))
    softplus = ops.maximum(values, 0.0) + ops.log1p(small)
    slope = ops.where(values >= 0, 1.0 / (1.0 + small), small / (1.0 + small))
    return softplus, cotangents * slope[:, None]


def saturating_cross_entropy(ops, logits, is_label):
    """Cross-entropy as float32 softmax computes it: the label's part of the gradient is lost at margins over about 16.6.

    Kept to reproduce published figures that came from this arithmetic; attacks are weaker with it.
    """
    weights = ops.exp(logits - ops.max(logits, axis=1, keepdims=True))
    total = ops.sum(weights, axis=1, keepdims=True)
    probabilities = weights / total
    values = -ops.log(ops.maximum(ops.sum(ops.where(is_label, probabilities, 0.0), axis=1), 1e-38))
    return values, probabilities - ops.where(is_label, 1.0, 0.0)


def margin(ops, logits, is_label):
    """``largest other logit - logit of the label``: above 0 exactly where the label has lost."""
    others = ops.where(is_label, _LOWEST, logits)
    top = ops.max(others, axis=1, keepdims=True)
    rank = ops.cumsum(ops.where(others == top, 1.0, 0.0), axis=1)
    is_top = (others == top) & (rank == 1.0)  # the first of equals, as argmax
    values = top[:, 0] - ops.sum(ops.where(is_label, logits, 0.0), axis=1)
    return values, ops.where(is_top, 1.0, 0.0) - ops.where(is_label, 1.0, 0.0)


OBJECTIVES = {
    "cross_entropy": cross_entropy,
    "odds": odds,
    "saturating_cross_entropy": saturating_cross_entropy,
    "margin": margin,
}
