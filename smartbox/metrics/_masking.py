"""Does a defence resist attacks, or only hide its gradient from them?"""

from numbers import Integral

import numpy as np
from scipy.stats import binom
from sklearn.utils import Bunch, check_random_state

from smartbox import _norms
from smartbox._checks import as_number, check_images, check_labels
from smartbox._model import as_face_model
from smartbox.attacks import FGSM, PGD, Square
from smartbox.attacks._search import value_and_gradient

_GROWTH = (0.5, 1.0, 2.0, 4.0)  # of eps
_ALL = 0.95  # share of the images that counts as all of them
_LEVEL = 0.05  # of the sign tests
_AGREEMENT = 0.5  # cosine of the gradients of two calls, below which they are taken for chance
_NO_SIGN = "no sign of gradient masking"
_SUSPECTED = "gradient masking suspected"


def masking_report(model, X, y, *, eps=8 / 255, norm="linf", max_iter=40, max_queries=500, random_state=None) -> Bunch:
    """Look for the signs of a model that hides its gradient instead of being robust.

    Success counts over the images that the model names rightly, by what each attack's report says.

    Parameters
    ----------
    model : FaceClassifier, Pipeline or anything that `smartbox.as_face_model` takes
        The model under suspicion, with its defences.
    X : array-like of shape (n, height, width, channels)
        Images in [0, 1]; a few dozen will do.
    y : array-like of shape (n,)
        Their true labels.
    eps : float or str, default=8/255
        The size of perturbation that the defence claims to withstand, in ``norm``; also as text, ``"8/255"``.
    norm : {"linf", "l2", "l1"}, default="linf"
        How it is measured.
    max_iter : int, default=40
        Steps of the iterative attack.
    max_queries : int, default=500
        Queries of the random search.
    random_state : int, RandomState or None, default=None
        Draws starts and squares.

    Returns
    -------
    report : Bunch
        What was found.

        verdict : ``"no sign of gradient masking"`` or ``"gradient masking suspected"``.
        suspected : bool, whether any check was struck.
        warnings : list of str, a sentence for each check that was struck.
        n_images : how many images were named rightly, and so attacked.
        checks : dict of Bunch, each with ``struck`` and its figures:

            one_step : success of ``one_step`` and ``many_steps`` (FGSM, PGD). Struck where one step wins.
            larger_eps : ``eps`` from half the given one to four times, and the whole range; ``success`` at each. Struck where a
                larger one wins less, or where success never grows and is not complete.
            unbounded : ``success`` with the whole range allowed. Struck below 95 %.
            random_search : success of the random search ``square`` and of ``gradient`` (PGD). Struck where the search wins.
            zero_gradient : ``share`` of the images with a gradient that is zero or not finite. Struck by any.
            random_gradient : ``agreement``, the median cosine between the gradients of two calls. Struck below 0.5.

    Raises
    ------
    ValueError
        If the model, images, labels or ``eps`` do not fit, or no image is named rightly.

    Notes
    -----
    "Wins" is by the images that one attack takes and the other does not: a one-sided sign test at 5 %, so that chance does not
    strike, and five images at least are needed. With the whole range allowed, the attack starts at the image itself: a random
    start would be misread without any gradient's help.

    A model without these signs may still be weak, and a random one (`random_gradient`) needs attacks that average over its
    chance, ``AutoAttack(version="rand")``, before any figure counts.

    References
    ----------
    .. [1] Athalye, Carlini, Wagner. "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section 3.1.
    .. [2] Carlini et al. "On Evaluating Adversarial Robustness", arXiv:1902.06705, 2019, section 4.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.metrics import masking_report
    >>> faces, face = make_faces(n_identities=8, n_images=1), smartbox.load_sample_model()
    >>> report = masking_report(face, faces.images, faces.target, max_iter=10, max_queries=20, random_state=0)
    >>> report.verdict
    'no sign of gradient masking'
    """
    model = as_face_model(model)
    X = check_images(X, image_shape=model.image_shape_)
    y = check_labels(y, len(X), model.classes_)
    eps = _check_parameters(eps, norm, max_iter, max_queries)
    right = model.predict(X) == y
    if not right.any():
        raise ValueError(
            f"expected images that the model names rightly, got {len(X)} that it does not: there is nothing to attack; pass the "
            "true labels, and images of the kind that it was trained on."
        )
    X, y = X[right], y[right]
    seed = check_random_state(random_state).randint(2**31 - 1)
    common = {"norm": norm, "random_state": seed}
    gradients = [value_and_gradient(model, X, y, "odds", False)[2].reshape(len(X), -1) for _ in range(2)]
    # In a model with chance, the first success is a lucky draw: the attack has to climb on.
    climb = {**common, "max_iter": max_iter, "early_stop": np.array_equal(*gradients, equal_nan=True)}
    whole = {"linf": 1.0, "l2": np.sqrt(X[0].size), "l1": float(X[0].size)}[norm]
    sizes = sorted({min(factor * eps, whole) for factor in _GROWTH})
    reached = [_success(PGD(model, eps=size, **climb), X, y) for size in sizes]
    everything = _success(PGD(model, eps=whole, random_start=False, **climb), X, y)
    gradient = reached[sizes.index(min(eps, whole))]
    found = Bunch(
        one_step=_one_step(_success(FGSM(model, eps=eps, norm=norm), X, y), gradient),
        larger_eps=_larger_eps([*sizes, whole], [*reached, everything]),
        unbounded=_unbounded(everything),
        random_search=_random_search(
            _success(Square(model, eps=eps, max_queries=max_queries, **common), X, y), gradient
        ),
        **_gradients(*gradients),
    )
    warnings = [check.pop("warning") for check in found.values()]
    for check, warning in zip(found.values(), warnings, strict=True):
        check.struck = warning is not None
    warnings = [warning for warning in warnings if warning is not None]
    return Bunch(
        verdict=_SUSPECTED if warnings else _NO_SIGN,
        suspected=bool(warnings),
        warnings=warnings,
        n_images=len(X),
        checks=found,
    )


def _check_parameters(eps, norm, max_iter, max_queries):
    if norm not in _norms.NORMS:
        raise ValueError(f"norm must be one of {_norms.NORMS}, got {norm!r}.")
    for name, value in (("max_iter", max_iter), ("max_queries", max_queries)):
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")
    number = as_number(eps, "eps")
    if number == 0:
        raise ValueError("eps must be above 0, got 0: pass the size that the defence claims to withstand.")
    FGSM(None, eps=number, norm=norm)._validate_params()  # an eps of 8 is no linf size
    return number


def _success(attack, X, y):
    """Which images the attack took; its warning of zero gradients is a check of its own here."""
    return attack._generate(X, y, keep_report=True)[1].success


def beats(first, second):
    """Whether the first took images that the second did not, more often than the other way round, beyond chance."""
    only_first, only_second = np.sum(first & ~second), np.sum(second & ~first)
    return bool(binom.sf(only_first - 1, only_first + only_second, 0.5) <= _LEVEL)


def _one_step(one, many):
    warning = None
    if beats(one, many):
        warning = (
            f"one step succeeds more often ({one.mean():.0%}) than many ({many.mean():.0%}): the gradient leads astray, so that "
            "low figures of iterative attacks say nothing about robustness."
        )
    return Bunch(one_step=float(one.mean()), many_steps=float(many.mean()), warning=warning)


def _larger_eps(sizes, reached):
    shares = [float(success.mean()) for success in reached]
    falls = [k for k in range(1, len(reached)) if any(beats(before, reached[k]) for before in reached[:k])]
    warning = None
    if falls:
        worst = falls[0]
        warning = (
            f"a larger eps ({sizes[worst]:.3g}) succeeds less often ({shares[worst]:.0%}) than a smaller one "
            f"({max(shares[:worst]):.0%}), though whatever the smaller allows the larger allows too."
        )
    elif max(shares[1:]) <= shares[0] < _ALL:
        warning = (
            f"success stays at {shares[0]:.0%} whatever eps, up to the whole range: the attack follows no gradient."
        )
    return Bunch(eps=[float(size) for size in sizes], success=shares, warning=warning)


def _unbounded(success):
    share, warning = float(success.mean()), None
    if share < _ALL:
        warning = (
            f"with every change allowed, the attack takes only {share:.0%} of the images: any model can be brought to any class "
            "then, so that its gradient does not show the way."
        )
    return Bunch(success=share, warning=warning)


def _random_search(square, gradient):
    warning = None
    if beats(square, gradient):
        warning = (
            f"random search without gradients succeeds more often ({square.mean():.0%}) than the gradient "
            f"({gradient.mean():.0%}): adversarial images are there, and the gradient does not show them."
        )
    return Bunch(square=float(square.mean()), gradient=float(gradient.mean()), warning=warning)


def _gradients(first, second):
    usable = np.isfinite(first).all(axis=1) & first.any(axis=1)
    zero = Bunch(share=float(np.mean(~usable)), warning=None)
    if not usable.all():
        zero.warning = (
            f"the gradient is zero or not finite for {np.sum(~usable)} of {len(first)} images: there attacks by gradient walk at "
            "random. Give a step without derivative a stand-in (BPDA), and attack logits, not saturated probabilities."
        )
    agreement = float("nan")
    if usable.any():
        inner = np.einsum("ij,ij->i", first, second, dtype=np.float64)[usable]
        lengths = (_norms.size(first, "l2") * _norms.size(second, "l2"))[usable]
        agreement = float(np.median(inner / np.maximum(lengths, np.finfo(np.float64).tiny)))
    random = Bunch(agreement=agreement, warning=None)
    if agreement < _AGREEMENT:
        random.warning = (
            f"two gradients of the same image agree by a cosine of {agreement:.2f} only: chance in the model hides the way; "
            'average over it, e.g. AutoAttack(version="rand"), before any figure counts.'
        )
    return {"zero_gradient": zero, "random_gradient": random}
