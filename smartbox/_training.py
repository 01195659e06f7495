"""Training of a Keras network: batches, learning rate, early stop, history. The step is the engine's."""

import random
import threading
from contextlib import contextmanager

import numpy as np

from smartbox._losses import label_loss
from smartbox._progress import progress_bar

_ONE_AT_A_TIME = threading.RLock()  # searches may fit in several threads
_DRAWS = [name for name, one in vars(random).items() if isinstance(getattr(one, "__self__", None), random.Random)]


@contextmanager
def seeded_layers(rng):
    """Keras draws seeds of layers from Python's generator: within the block this thread draws from one that is seeded.

    The functions of `random` are replaced, not its generator seeded: threads of others (a notebook's, a cluster's) draw from that
    at any moment, and each draw of theirs would make other layers.
    """
    own, mine = random.Random(int(rng.randint(2**31 - 1))), threading.get_ident()

    def of_this_thread(usual, seeded):
        return lambda *args, **kwargs: (seeded if threading.get_ident() == mine else usual)(*args, **kwargs)

    with _ONE_AT_A_TIME:
        usual_draws = {name: getattr(random, name) for name in _DRAWS}
        for name, usual in usual_draws.items():
            setattr(random, name, of_this_thread(usual, getattr(own, name)))
        try:
            yield
        finally:
            for name, usual in usual_draws.items():
                setattr(random, name, usual)


def make_optimizer(optimizer, learning_rate, n_steps):
    """A fresh Keras optimiser. A name gets a short rise and a cosine decay of the rate, "sgd" also momentum 0.9."""
    import keras

    if isinstance(optimizer, keras.optimizers.Optimizer):
        return type(optimizer).from_config(optimizer.get_config())
    rise = n_steps // 20  # at full rate from the first step, deep networks may settle at chance
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 10, max(n_steps - rise, 1), warmup_target=learning_rate, warmup_steps=rise
    )
    if optimizer == "sgd":
        return keras.optimizers.SGD(schedule, momentum=0.9)
    try:
        fresh = keras.optimizers.get(optimizer)
        settings = fresh.get_config()
    except (AttributeError, TypeError, ValueError) as error:  # of None, None comes back
        raise ValueError(
            "expected optimizer as a name that Keras knows, such as 'sgd' or 'adam', or a Keras optimizer, "
            f"got {optimizer!r}."
        ) from error
    return type(fresh).from_config({**settings, "learning_rate": schedule})


class Lesson:
    """What a network learns from: this one from images and their labels. Others make something else of each batch.

    Attributes
    ----------
    objective : callable
        One of `smartbox._losses`.
    inputs : tuple of str
        What each array of a batch is, as the engine's ``train_step`` wants it.
    watched : str
        What ``patience`` waits for, among the names that `evaluate` gives.
    names : bool
        Whether the network names what it is shown, so that there is an accuracy.
    """

    objective = staticmethod(label_loss)
    inputs = ("images", "index")
    watched = "val_loss"
    names = True

    def begin(self, network, X, index, weight):
        """Meet the untrained network; return what is to be learnt, perhaps more than was given."""
        return X, index, weight

    def begin_epoch(self):
        """Called before each pass over the images."""

    def batch(self, X, index, rows):
        """The inputs of one step."""
        return X[rows], index[rows]

    def evaluate(self, engine, X, index):
        """Measures on validation images, by the names that the history has for them."""
        return measured("val", engine, X, index)


def measured(name, engine, X, index, temperature=1.0):
    """Loss, of the logits divided by a temperature, and accuracy on some images."""
    from smartbox._objectives import cross_entropy

    logits = engine.logits(X) / np.float32(temperature)
    losses, _ = cross_entropy(np, logits, index[:, None] == np.arange(logits.shape[1]))
    hits = logits.argmax(axis=1) == index
    return {f"{name}_loss": float(losses.mean()), f"{name}_accuracy": float(hits.mean())}


def train(
    engine, network, X, index, weight, *, optimizer, epochs, batch_size, rng, validation=None, patience=None, verbose=0,
    lesson=None,
):  # fmt: skip
    """Train ``network`` in place and return its history, a dict of lists with one entry an epoch.

    Parameters
    ----------
    engine : NetworkEngine
        Of ``network``.
    X, index, weight : ndarray
        Images, columns of their labels, weights.
    validation : tuple of (X, index), optional
        Measured after each epoch.
    patience : int, optional
        Stop after so many epochs without a lower validation loss, and go back to the best weights.
    lesson : Lesson, optional
        What the network learns from, if not from these images and labels as they are.
    """
    lesson = Lesson() if lesson is None else lesson
    step = engine.train_step(optimizer, lesson.objective, lesson.inputs)
    history = {}
    best_loss, best_weights, since = np.inf, None, 0
    with progress_bar("Training", epochs, enabled=verbose) as advance:
        for _ in range(epochs):
            row = _epoch(step, lesson, X, index, weight, batch_size, rng)
            if validation:
                row |= lesson.evaluate(engine, *validation)
            for name, value in row.items():
                history.setdefault(name, []).append(value)
            advance(1, note=" ".join(f"{name} {value:.3g}" for name, value in row.items()))
            if not np.isfinite(row["loss"]):
                raise FloatingPointError("the training loss is not finite: lower learning_rate.")
            if validation and patience is not None:
                since += 1
                if row[lesson.watched] < best_loss:
                    best_loss, best_weights, since = row[lesson.watched], network.get_weights(), 0
                if since >= patience:
                    break
    if best_weights is not None:
        network.set_weights(best_weights)
    return history


def _epoch(step, lesson, X, index, weight, batch_size, rng):
    lesson.begin_epoch()
    order = rng.permutation(len(X))
    total, hits = 0.0, 0.0
    for start in range(0, len(X), batch_size):
        rows = order[start : start + batch_size]
        loss, correct = step(*lesson.batch(X, index, rows), weight[rows])
        total += float(loss) * len(rows)
        hits += float(correct)
    return {"loss": total / len(X)} | ({"accuracy": hits / len(X)} if lesson.names else {})
