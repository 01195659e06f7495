"""What an attack is."""

import warnings
from numbers import Integral

import numpy as np
from sklearn.utils import Bunch, check_random_state, gen_batches

from smartbox import _norms
from smartbox._checks import check_images, check_labels
from smartbox._compat import Interval
from smartbox._model import identify, is_rejection, seeded
from smartbox._progress import progress_bar
from smartbox._streams import ImageStreams
from smartbox.base._images import StatelessTransformer, checked_output
from smartbox.base._model_reference import ModelReferenceMixin

_DRAWS = 20  # of chance, for gradients and decisions of attacks that do not choose
_COUNTS = ("n_iterations", "n_gradients", "n_zero_gradients")


class BaseAttack(ModelReferenceMixin, StatelessTransformer):
    """An attack: makes adversarial images against a model that it refers to and never copies.

    A subclass writes ``_perturb(model, X, y, rng)``: one batch of checked images and labels in; adversarial images out, alone
    or with a dict of counts ``n_iterations``, ``n_gradients``, ``n_zero_gradients``, each ``(n,)``. ``rng`` holds one stream an
    image: ``rng.uniform(k)`` and ``rng.normal(k)`` give ``(n, k)`` numbers. Of the parameters below, those that its ``__init__``
    does not take keep the values here.

    Examples
    --------
    >>> import numpy as np, smartbox
    >>> from smartbox.base import BaseAttack
    >>> from smartbox.datasets import make_faces
    >>> class Darken(BaseAttack):
    ...     def __init__(self, model, *, by=0.1):
    ...         self.model = model
    ...         self.by = by
    ...     def _perturb(self, model, X, y, rng):
    ...         return X - self.by
    >>> faces = make_faces(n_identities=3, n_images=2)
    >>> attack = Darken(smartbox.load_sample_model(), by=0.3)
    >>> bool(attack.generate(faces.images).mean() < faces.images.mean())
    True
    """

    targeted = False
    batch_size = 128
    random_state = None
    verbose = 0
    eot_iter = None

    _parameter_constraints = {
        "model": "no_validation",
        "targeted": ["boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "eot_iter": [Interval(Integral, 1, None, closed="left"), None],
    }

    def generate(self, X, y=None, *, out=None, return_report=False):
        """Make adversarial images, and keep a report in ``report_``.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1]. Never written to.
        y : array-like of shape (n,), optional
            The labels to leave, or with ``targeted=True`` the labels to reach. None takes the model's own predictions, which
            no targeted attack can use.
        out : ndarray or memmap, optional
            Float32 array like ``X`` that takes the adversarial images, batch by batch: with it, and ``X`` itself a memmap, sets
            larger than memory can be attacked.
        return_report : bool, default=False
            Also return the report.

        Returns
        -------
        X_adv : ndarray like X, float32 in [0, 1]
        report : Bunch
            Only with ``return_report=True``: per image ``success``, ``success_8bit`` (after rounding to k/255), ``l1``, ``l2``,
            ``linf``, ``n_iterations``, ``n_gradients``, ``n_zero_gradients``, ``initially_wrong``, ``prediction_before`` and
            ``prediction_after``. Success counts over all images, those wrong from the start included.

        Raises
        ------
        ValueError
            If the model is missing or unfitted, the images do not fit it, or a label was never seen.

        Notes
        -----
        When interrupted (Ctrl-C), ``report_`` covers the images that were finished and holds them as ``report_.X_adv``.
        """
        X_adv, self.report_ = self._generate(X, y, out=out, keep_report=True)
        self._warn_of_zero_gradients()
        return (X_adv, self.report_) if return_report else X_adv

    def transform(self, X):
        """Make adversarial images against the model's own predictions; no label leaks in, no report is kept.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].

        Returns
        -------
        X_adv : ndarray like X, float32 in [0, 1]
        """
        return self._generate(X, None)[0]

    def _generate(self, X, y, *, out=None, keep_report=False):
        """Adversarial images and, if it is to be kept, the report; everything but ``_perturb`` and its checks is here."""
        self._validate_params()
        model = self._face_model()
        X = check_images(self._check_images(X), image_shape=model.image_shape_)
        y = self._labels(y, len(X), model)
        X_adv = _check_out(out, X) if out is not None else np.empty_like(X)
        seed = check_random_state(self.random_state).randint(2**63, dtype=np.int64)
        model = seeded(model, seed)
        streams = ImageStreams.from_images(X, seed)
        seen = self._seen(model, seed)
        parts, n_won, n_done = [], 0, 0
        try:
            with progress_bar(type(self).__name__, len(X), enabled=self.verbose) as advance:
                for batch in gen_batches(len(X), self.batch_size):
                    before = model.predict(X[batch]) if keep_report else None
                    labels = identify(model, X[batch], before) if y is None else y[batch]
                    made = self._perturb(seen, X[batch].copy(), labels, streams.take(batch))
                    images, counts = made if isinstance(made, tuple) else (made, {})
                    images = checked_output(self, "_perturb", images, X[batch])
                    if keep_report:
                        nothing = dict.fromkeys(_COUNTS, np.zeros(len(labels), dtype=int))
                        parts.append({**self._measure(model, X[batch], images, labels, before), **nothing, **counts})
                        parts[-1]["n_gradients"] = parts[-1]["n_gradients"] * getattr(seen, "n_draws", 1)
                        n_won += int(parts[-1]["success"].sum())
                    X_adv[batch], n_done = images, batch.stop  # last, since out may be X itself
                    advance(len(labels), note=f"{100 * n_won / n_done:.1f} % success" if keep_report else "")
        except KeyboardInterrupt:
            if parts:
                self.report_ = Bunch(X_adv=X_adv[:n_done], **_joined(parts))
            raise
        return X_adv, _joined(parts) if keep_report else None

    def _seen(self, model, seed):
        """What the attack knows of the model: of one with chance the mean over draws that are never the deployed ones."""
        if not getattr(model, "has_chance", False):
            return model
        return model.in_expectation(_DRAWS if self.eot_iter is None else self.eot_iter, int(seed))

    def _labels(self, y, n_images, model):
        """The labels given, checked; None for the model's own predictions."""
        if y is not None:
            return check_labels(y, n_images, model.classes_)
        if self.targeted:
            raise ValueError(
                "a targeted attack needs y, the label that each image shall reach, e.g. "
                "FaceProtocol().assign(y).targets: call generate(X, y)."
            )
        return None

    def _reached(self, model, predicted, y):
        """Whether each prediction is what the attacker wants; that of a guarded model to be rejected never is."""
        return predicted == y if self.targeted else (predicted != y) & ~is_rejection(model, predicted)

    def _succeeds(self, model, X, y):
        """Whether each image is where the attacker wants it; of a model with chance, in nine draws of ten."""
        decide = getattr(model, "decide", None)
        predicted = model.predict(X) if decide is None else decide(X, y, self.targeted)
        return self._reached(model, predicted, y)

    def _measure(self, model, X, X_adv, y, before):
        """Success and size of one batch, from the images that are returned."""
        after = model.predict(X_adv)
        rounded = model.predict(np.rint(X_adv * 255) / np.float32(255))
        delta = (X_adv - X).reshape(len(X), -1)
        return {
            "success": self._reached(model, after, y),
            "success_8bit": self._reached(model, rounded, y),
            **{norm: _norms.size(delta, norm) for norm in _norms.NORMS},
            "initially_wrong": self._reached(model, before, y),
            "prediction_before": before,
            "prediction_after": after,
        }

    def _warn_of_zero_gradients(self):
        n_flat = np.count_nonzero(self.report_.n_zero_gradients)
        if n_flat:
            warnings.warn(
                f"{type(self).__name__}: the gradient was zero for {n_flat} of {len(self.report_.success)} images, at least "
                "at times: there the attack went at random or stopped. A success rate that is low for this reason says "
                "nothing about robustness (see report_.n_zero_gradients).",
                stacklevel=3,
            )


def _check_out(out, X):
    if not isinstance(out, np.ndarray) or out.shape != X.shape or out.dtype != np.float32 or not out.flags.writeable:
        came = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(
            f"expected out as a writeable float32 array of shape {X.shape}, like X, got {came}: e.g. "
            "np.lib.format.open_memmap('adversarial.npy', 'w+', np.float32, X.shape)."
        )
    return out


def _joined(parts):
    return Bunch(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
