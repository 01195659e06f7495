"""What training descends: a loss for each image, and which images are right.

Every function takes ``(ops, run, *inputs)``: an array namespace (``keras.ops``), a function from images to the outputs of the
network in training, and the batch. It returns ``(losses (n,), hits (n,))``.
"""


def label_loss(ops, run, x, index):
    """Cross-entropy against the labels."""
    logits = run(x)
    return _cross_entropy(ops, logits, index), _hits(ops, logits, index)


def softened(temperature):
    """Cross-entropy of ``softmax(logits / temperature)``, times the temperature.

    The factor gives the slope by the logits the size that it has at temperature 1: a learning rate then means the same.
    """

    def loss(ops, run, x, index):
        logits = run(x)
        return temperature * _cross_entropy(ops, logits / temperature, index), _hits(ops, logits, index)

    return loss


def softly_labelled(temperature):
    """As `softened`, against a distribution over the labels for each image."""

    def loss(ops, run, x, index, shares):
        logits = run(x)
        losses = -ops.sum(shares * ops.log_softmax(logits / temperature, axis=1), axis=1)
        return temperature * losses, _hits(ops, logits, index)

    return loss


def trades(beta):
    """Cross-entropy on the images, and ``beta`` times the divergence of the attacked images' softmax from theirs."""

    def loss(ops, run, x, index, x_adv):
        logits = run(x)
        clean, attacked = ops.log_softmax(logits, axis=1), ops.log_softmax(run(x_adv), axis=1)
        divergence = ops.sum(ops.exp(clean) * (clean - attacked), axis=1)
        return _cross_entropy(ops, logits, index) + beta * divergence, _hits(ops, logits, index)

    return loss


def squared_error(ops, run, x, wanted):
    """Mean squared difference from the images wanted; a hit is none."""
    losses = ops.mean(ops.square(run(x) - wanted), axis=(1, 2, 3))
    return losses, ops.zeros_like(losses)


def guided(weight, logits_of):
    """`squared_error`, and ``weight`` times the mean absolute difference that is left between the logits of both images."""

    def loss(ops, run, x, wanted):
        made = run(x)
        apart = ops.mean(ops.abs(logits_of(ops.clip(made, 0.0, 1.0)) - logits_of(wanted)), axis=1)
        losses, hits = squared_error(ops, lambda _: made, x, wanted)
        return losses + weight * apart, hits

    return loss


def _cross_entropy(ops, logits, index):
    return ops.sparse_categorical_crossentropy(index, logits, from_logits=True)


def _hits(ops, logits, index):
    return ops.cast(ops.equal(ops.argmax(logits, axis=1), ops.cast(index, "int32")), "float32")
