"""What an attack climbs: functions of the logits with their exact cotangents.

Every objective takes ``(ops, logits, is_label)``: an array namespace (``numpy`` or ``keras.ops``), logits ``(n, k)``
and a boolean ``(n, k)`` that marks each row's label. It returns ``(values (n,), cotangents (n, k))`` where cotangents
are the derivative of the values by the logits. One formula thus serves both a compiled network and a NumPy model. All
objectives grow as the label loses, so that attacks ascend untargeted and descend towards a target.
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
    """Cross-entropy as float32 softmax computes it: the label's part of the gradient is lost at margins over 16.6.

    Kept to reproduce published figures that came from this arithmetic; attacks are weaker with it.
    """
    weights = ops.exp(logits - ops.max(logits, axis=1, keepdims=True))
    total = ops.sum(weights, axis=1, keepdims=True)
    probabilities = weights / total
    values = -ops.log(ops.maximum(ops.sum(ops.where(is_label, probabilities, 0.0), axis=1), 1e-38))
    return values, probabilities - ops.where(is_label, 1.0, 0.0)


def margin(ops, logits, is_label):
    """``largest other logit - logit of the label``: above 0 exactly where the label has lost."""
    top, is_top = _first_largest(ops, ops.where(is_label, _LOWEST, logits))
    values = top - ops.sum(ops.where(is_label, logits, 0.0), axis=1)
    return values, ops.where(is_top, 1.0, 0.0) - ops.where(is_label, 1.0, 0.0)


def dlr(ops, logits, is_label):
    """Difference of logits ratio: the margin over ``largest - third largest logit``. Needs three classes.

    Neither a shift nor a scale of the logits changes it, so that it cannot saturate.
    """
    (first, is_first), _, (third, is_third) = _leaders(ops, logits, 3)
    slope = ops.where(is_first, 1.0, 0.0) - ops.where(is_third, 1.0, 0.0)
    return _ratio(ops, *margin(ops, logits, is_label), first - third, slope)


def targeted_dlr(ops, logits, is_label):
    """The margin over ``largest logit - mean of the third and fourth``, for a label to be reached. Needs four classes.

    The paper subtracts the label's logit from that of the true class; here from the largest other one, which is the
    same until the true class has lost.
    """
    (first, is_first), _, (third, is_third), (fourth, is_fourth) = _leaders(ops, logits, 4)
    slope = ops.where(is_first, 1.0, 0.0) - (ops.where(is_third, 0.5, 0.0) + ops.where(is_fourth, 0.5, 0.0))
    return _ratio(ops, *margin(ops, logits, is_label), first - (third + fourth) / 2, slope)


def divergence(ops, logits, reference):
    """Kullback-Leibler divergence of ``softmax(logits)`` from ``softmax(reference)``, both ``(n, k)``.

    No objective of labels: what training for smoothness around an image climbs.
    """
    log_p, log_q = (each - _logsumexp(ops, each) for each in (reference, logits))
    p = ops.exp(log_p)
    return ops.sum(p * (log_p - log_q), axis=1), ops.exp(log_q) - p


def _logsumexp(ops, logits):
    top = ops.max(logits, axis=1, keepdims=True)
    return top + ops.log(ops.sum(ops.exp(logits - top), axis=1, keepdims=True))


def _first_largest(ops, values):
    """The largest entry of each row, and a mask of the first of equals, as argmax."""
    top = ops.max(values, axis=1, keepdims=True)
    rank = ops.cumsum(ops.where(values == top, 1.0, 0.0), axis=1)
    return top[:, 0], (values == top) & (rank == 1.0)


def _leaders(ops, logits, count):
    """The ``count`` largest logits of each row, each with its mask."""
    leaders = []
    for _ in range(count):
        leaders.append(_first_largest(ops, logits))
        logits = ops.where(leaders[-1][1], _LOWEST, logits)
    return leaders


def _ratio(ops, values, cotangents, spread, slope):
    """Quotient rule; logits that are all equal are divided by 1."""
    spread = ops.where(spread > 0, spread, 1.0)
    values = values / spread
    return values, (cotangents - values[:, None] * slope) / spread[:, None]


OBJECTIVES = {
    "cross_entropy": cross_entropy,
    "odds": odds,
    "saturating_cross_entropy": saturating_cross_entropy,
    "margin": margin,
    "dlr": dlr,
    "targeted_dlr": targeted_dlr,
}
