"""Displays: what they draw equals the metrics; curves on one axes can be told apart; the rest of the axes is left alone."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.pipeline import make_pipeline

from smartbox import FaceEmbedder, FaceGallery, FaceVerifier, as_face_model
from smartbox.attacks import FGSM, DeepFool
from smartbox.defenses import GaussianBlur
from smartbox.estimator_checks import example_images
from smartbox.metrics import (
    CMCDisplay,
    DETDisplay,
    PerturbationDisplay,
    RobustnessCurveDisplay,
    VerificationROCDisplay,
    all_claim_scores,
    claim_scores,
    cmc_curve,
    det_points,
    equal_error_rate,
    tar_at_far,
    wilson_interval,
)
from tests.doubles import NumpyModel, smooth_embedding
from tests.metrics.test_verification import gaussian_scores, scores_with_ties

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
CURVES = [CMCDisplay, VerificationROCDisplay, DETDisplay, RobustnessCurveDisplay]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def model():
    return NumpyModel(n_classes=4)


@pytest.fixture
def images(model):
    """Faces of which the model knows most."""
    X = np.random.default_rng(0).random((40, 6, 5, 1)).astype(np.float32)
    y = model.predict(X)
    y[::7] = (y[::7] + 1) % 4
    return X, y


def draw(cls, model, images, **options):
    if cls is RobustnessCurveDisplay:
        options = {"attack": FGSM(None), "eps": [0, 0.01, 0.1], **options}
    return cls.from_estimator(model, *images, **options)


def value_at(line, x):
    """Height of a staircase."""
    return line.get_ydata()[np.searchsorted(line.get_xdata(), x, side="right") - 1]


@pytest.mark.parametrize("defended", [False, True])
def test_cmc_of_a_model_and_of_a_pipeline(model, images, defended):
    X, y = images
    estimator = make_pipeline(GaussianBlur(), model) if defended else model
    display = CMCDisplay.from_estimator(estimator, X, y)
    seen = GaussianBlur().transform(X) if defended else X
    expected = cmc_curve(y, model.logits(seen), classes=model.classes_)
    np.testing.assert_array_equal(display.line_.get_ydata(), expected)
    np.testing.assert_array_equal(display.line_.get_xdata(), [1, 2, 3, 4])
    assert display.line_.get_label() == f"{type(estimator).__name__}: {100 * expected[0]:.1f} %"
    assert display.figure_ is display.ax_.figure
    assert display.ax_.get_legend().get_title().get_text() == "accuracy at rank 1"


def test_all_claims_of_all_probes(model, images):
    X, y = images
    logits = model.logits(X)
    claims = all_claim_scores(logits, y, classes=model.classes_)
    one_by_one = claim_scores(np.repeat(logits, 4, axis=0), np.tile(model.classes_, len(y)), model.classes_)
    np.testing.assert_array_equal(claims.scores, one_by_one)
    np.testing.assert_array_equal(claims.is_genuine, np.tile(model.classes_, len(y)) == np.repeat(y, 4))


def test_all_claims_with_names_in_any_order_ties_and_nan():
    logits = [[1.0, 1.0, 0.0], [np.nan, 2.0, 5.0]]
    claims = all_claim_scores(logits, ["bob", "eve"], classes=["eve", "ann", "bob"])
    np.testing.assert_array_equal(claims.scores, [0, 0, -1, -np.inf, -3, 3])
    np.testing.assert_array_equal(claims.is_genuine, [False, False, True, True, False, False])


@pytest.mark.parametrize("seed", range(5))
def test_roc_staircase_is_the_tar_at_each_far(seed):
    scores, genuine = scores_with_ties(seed, n=200)
    line = VerificationROCDisplay.from_predictions(scores, genuine, name="ours").line_
    assert line.get_drawstyle() == "steps-post"
    for far in np.linspace(0.01, 1, 60):
        assert value_at(line, far) == pytest.approx(tar_at_far(scores, genuine, far))
    assert line.get_label() == f"ours: {100 * equal_error_rate(scores, genuine):.1f} %"


def test_roc_without_ties_has_the_area_of_scikit_learn():
    rng = np.random.default_rng(1)
    genuine = rng.random(400) < 0.4
    scores = rng.normal(size=400) + genuine
    display = VerificationROCDisplay.from_predictions(scores, genuine)
    x, y = display.line_.get_data()
    assert np.sum(np.diff(x) * y[:-1]) == pytest.approx(roc_auc_score(genuine, scores))
    far, tar, _ = roc_curve(genuine, scores)  # its corners are ours, each once
    corners = set(zip(far.round(12), tar.round(12), strict=True))
    assert set(zip(x.round(12), y.round(12), strict=True)) <= corners
    assert display.ax_.get_legend() is None  # nameless


def test_roc_of_a_model_and_its_claims(model, images):
    X, y = images
    claims = np.roll(y, 3)
    display = VerificationROCDisplay.from_estimator(model, X, y, claims=claims)
    margins = claim_scores(model.logits(X), claims, model.classes_)
    assert (display.n_genuine, display.n_impostors) == (np.sum(claims == y), np.sum(claims != y))
    assert value_at(display.line_, 0.2) == pytest.approx(tar_at_far(margins, claims == y, 0.2))
    everybody = VerificationROCDisplay.from_estimator(model, X, y)
    assert (everybody.n_genuine, everybody.n_impostors) == (len(y), 3 * len(y))


def test_nobody_claims_to_be_the_rejection_of_a_guarded_model(model, images):
    class Detector:
        threshold_ = 0.5

        def decision_function(self, X):
            return X.mean(axis=(1, 2, 3))

        def value_and_gradient(self, X):
            return self.decision_function(X), np.full_like(X, 1 / X[0].size)

    X, y = images
    guarded = as_face_model(model, detector=Detector())
    display = VerificationROCDisplay.from_estimator(guarded, X, y)
    assert (display.n_genuine, display.n_impostors) == (len(y), 3 * len(y))
    # a flagged face is accepted as nobody: at margin 0, the share of genuine claims accepted is that of faces seen right
    every = all_claim_scores(guarded.logits(X), y, classes=guarded.classes_)
    assert np.mean(every.scores[every.is_genuine] > 0) == np.mean(guarded.predict(X) == y)


def test_those_who_are_nobody_are_no_claim_and_have_no_rank():
    """Curves of a gallery and of a verifier are those of the cosines to people, whatever the threshold."""
    X = example_images((12, 10, 1), n=24, seed=1)
    y, embedder = np.arange(24) % 6, FaceEmbedder(smooth_embedding((12, 10, 1)))
    y[18:] = -1  # strangers
    for threshold in (0.2, 0.999):
        gallery = FaceGallery(embedder, threshold=threshold, unknown=-1).fit(X[:6], y[:6])
        cosines, people = gallery.cosines(X[6:]), np.arange(6)
        for estimator in (gallery, make_pipeline(GaussianBlur(sigma=1e-3), gallery)):
            roc = VerificationROCDisplay.from_estimator(estimator, X[6:], y[6:], name="ours")
            expected = equal_error_rate(cosines.ravel(), (y[6:, None] == people).ravel())
            assert roc.line_.get_label() == f"ours: {100 * expected:.1f} %"
            assert (roc.n_genuine, roc.n_impostors) == (12, 18 * 6 - 12)
            curve = CMCDisplay.from_estimator(estimator, X[6:18], y[6:18]).line_.get_ydata()
            np.testing.assert_array_equal(curve, cmc_curve(y[6:18], cosines[:12], classes=people))
        claims = np.where(np.arange(12) % 2, y[6:18], (y[6:18] + 1) % 6)
        roc = VerificationROCDisplay.from_estimator(gallery, X[6:18], y[6:18], claims=claims)
        assert value_at(roc.line_, 0.2) == pytest.approx(
            tar_at_far(cosines[np.arange(12), claims], claims == y[6:18], 0.2)
        )
        verifier = FaceVerifier(embedder, threshold=threshold).fit(X[:1])
        own = y == 0
        label = np.where(own, "genuine", "impostor")
        det = DETDisplay.from_estimator(verifier, X[1:], label[1:], name="ours")
        expected = equal_error_rate(verifier.cosines(X[1:])[:, 0], own[1:])
        assert det.line_.get_label() == f"ours: {100 * expected:.1f} %" and det.n_impostors == 21
    with pytest.raises(ValueError, match="claims holds labels"):
        VerificationROCDisplay.from_estimator(gallery, X, y, claims=y)


@pytest.mark.parametrize("n_impostors, scale", [(999, "linear"), (1000, "log")])
def test_far_axis_is_logarithmic_where_there_are_many_impostors(n_impostors, scale):
    genuine = np.arange(n_impostors + 50) < 50
    display = VerificationROCDisplay.from_predictions(
        np.random.default_rng(0).random(len(genuine)) + genuine / 2, genuine
    )
    assert display.ax_.get_xscale() == scale
    if scale == "log":
        assert display.ax_.get_xlim() == (1 / n_impostors, 1)
    display.figure_.canvas.draw()
    assert {"20%", "100%"} <= {text.get_text() for text in display.ax_.get_yticklabels()}


@pytest.mark.parametrize("d_prime", [1.0, 2.0])
def test_det_of_gaussians_is_drawn_as_a_line(d_prime):
    scores, genuine = gaussian_scores(d_prime, n=2001)
    display = DETDisplay.from_predictions(scores, genuine)
    x, y = display.line_.get_data()
    inner = (np.abs(x) < 2) & (np.abs(y) < 2)
    np.testing.assert_allclose(y[inner], -d_prime - x[inner], atol=3e-2)
    at_eer = np.argmin(np.abs(x - y))
    assert norm.cdf(x[at_eer]) == pytest.approx(norm.cdf(-d_prime / 2), abs=2e-3)
    ticks = dict(zip(display.ax_.get_xticks(), [t.get_text() for t in display.ax_.get_xticklabels()], strict=True))
    assert ticks[norm.ppf(0.01)] == "1%" and ticks[norm.ppf(0.5)] == "50%"


def test_det_draws_points_of_det_points_only():
    scores, genuine = scores_with_ties(2)
    points = det_points(scores, genuine)
    line = DETDisplay.from_predictions(scores, genuine).line_
    there = set(zip(points.far_deviate, points.frr_deviate, strict=True))
    assert set(zip(*line.get_data(), strict=True)) <= there
    assert np.isfinite(line.get_xydata()).all()


def test_det_of_perfect_separation_is_one_point():
    line = DETDisplay.from_predictions([3.0, 2.0, 1.0, 0.0], [1, 1, 0, 0]).line_
    np.testing.assert_allclose(line.get_xydata(), [[norm.ppf(0.25), norm.ppf(0.25)]])


def test_robustness_of_an_affine_model_under_fgsm():
    """An image falls at eps = margin / l1 size of the difference of the weights, if no pixel leaves [0, 1]."""
    face = NumpyModel(n_classes=2)
    X = np.random.default_rng(0).uniform(0.4, 0.6, (60, 4, 3, 1)).astype(np.float32)
    slope = face._weights(X)[0] - face._weights(X)[1]
    falls_at = np.abs(X.reshape(len(X), -1) @ slope) / np.abs(slope).sum()
    X, falls_at = X[falls_at < 0.35], falls_at[falls_at < 0.35]
    y = face.predict(X)
    eps = np.linspace(0, 1.05 * falls_at.max(), 9)
    display = RobustnessCurveDisplay.from_estimator(face, X, y, attack=FGSM(None), eps=eps)
    assert len(X) > 20
    expected = [np.mean(falls_at > e) for e in eps]
    np.testing.assert_allclose(display.line_.get_ydata(), expected)
    np.testing.assert_array_equal(display.line_.get_xdata(), eps)
    smallest = RobustnessCurveDisplay.from_estimator(face, X, y, attack=DeepFool(None, norm="linf"), eps=eps[:-1])
    np.testing.assert_allclose(smallest.accuracy, expected[:-1], atol=0.051)  # its overshoot may pass one image over
    assert smallest.norm == display.norm == "linf"


def test_attack_with_a_model_of_its_own_is_transferred(model, images):
    X, y = images
    other = NumpyModel(n_classes=4)
    other._weights = lambda X: -model._weights(X)
    attack = FGSM(other)
    transferred = draw(RobustnessCurveDisplay, model, images, attack=attack)
    X_adv = FGSM(other, eps=0.1).generate(X, y)
    assert transferred.accuracy[2] == np.mean(model.predict(X_adv) == y)
    assert attack.model is other and attack.eps == FGSM(None).eps  # not written to
    assert draw(RobustnessCurveDisplay, model, images).accuracy[2] < transferred.accuracy[2]


def test_robustness_of_predictions_and_its_band():
    y_pred = [["a", "b", "a", "b"], ["a", "a", "a", "b"], ["b", "a", "b", "a"]]
    eps = [0, 4 / 255, 8 / 255]
    band = (eps, *wilson_interval([4, 3, 0], 4))
    display = RobustnessCurveDisplay.from_predictions(
        ["a", "b", "a", "b"], y_pred, eps=["0", "4/255", "8/255"], norm="linf", band=band
    )
    np.testing.assert_array_equal(display.line_.get_ydata(), [1, 0.75, 0])
    (area,) = display.ax_.collections
    vertices = area.get_paths()[0].vertices
    for end in band[1:]:
        assert all(np.isclose(vertices, point).all(axis=1).any() for point in zip(eps, end, strict=True))
    display.figure_.canvas.draw()
    assert {"0", "4/255", "8/255"} <= {text.get_text() for text in display.ax_.get_xticklabels()}


def test_det_band_is_brought_to_deviates():
    scores, genuine = scores_with_ties(3)
    points = det_points(scores, genuine)
    display = DETDisplay.from_predictions(scores, genuine, band=(points.far, points.frr * 0.9, points.frr))
    assert np.isfinite(display.ax_.collections[0].get_paths()[0].vertices).all()
    assert len(display.band) == 3 and display.band[0] is points.far


@pytest.mark.parametrize("cls", CURVES)
def test_curves_on_one_axes_differ_in_colour_and_line_and_marker(cls, model, images):
    first = draw(cls, model, images, name="before attack")
    label = first.ax_.get_xlabel()
    first.ax_.set_xlabel("mine")
    lines = [first.line_] + [draw(cls, model, images, name=f"after {i}", ax=first.ax_).line_ for i in range(6)]
    for looks in ("get_color", "get_marker"):
        assert len({getattr(line, looks)() for line in lines}) == 7
    assert len({str(line._dash_pattern) for line in lines}) == 7
    assert label and first.ax_.get_xlabel() == "mine"
    assert not any(text.get_parse_math() for text in first.ax_.get_legend().get_texts())
    names = [text.get_text().partition(":")[0] for text in first.ax_.get_legend().get_texts()]
    assert names == ["before attack", *(f"after {i}" for i in range(6))]


@pytest.mark.parametrize("cls", CURVES)
def test_keywords_and_axes_are_those_of_the_user(cls, model, images):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2)
    axes[1].plot([0, 1], [0, 1])  # somebody else's line takes none of the looks
    display = draw(cls, model, images, ax=axes[1], c="red", lw=3, ls=":", label="mine")
    assert display.ax_ is axes[1] and display.figure_ is figure
    assert (display.line_.get_color(), display.line_.get_linewidth(), display.line_.get_label()) == ("red", 3, "mine")
    assert draw(cls, model, images, ax=axes[0]).line_.get_marker() == "o"
    again = display.plot()
    assert again is display and display.ax_ is not axes[1]


def test_colours_are_told_apart_in_grey_or_by_line():
    from matplotlib.colors import to_rgb

    from smartbox._drawing import _LOOKS

    luminance = np.array([np.dot(to_rgb(color), [0.2126, 0.7152, 0.0722]) for color, *_ in _LOOKS])
    assert luminance.max() < 0.7  # none is lost on white
    assert len({str(line) for _, line, _ in _LOOKS}) == len(_LOOKS) == len({marker for *_, marker in _LOOKS})


def test_the_eighth_curve_is_told_from_the_first_by_its_marker(model, images):
    displays = [draw(CMCDisplay, model, images)]
    displays += [draw(CMCDisplay, model, images, ax=displays[0].ax_) for _ in range(13)]
    looks = {(d.line_.get_color(), str(d.line_.get_linestyle()), d.line_.get_marker()) for d in displays}
    assert len(looks) == len(displays)


def test_a_long_name_leaves_room_for_the_curve(model, images):
    display = draw(CMCDisplay, model, images, name="x" * 300)
    (text,) = display.ax_.get_legend().get_texts()
    assert len(text.get_text()) <= 60 and text.get_text().endswith(f": {100 * display.accuracy[0]:.1f} %")
    for i in range(4):
        draw(CMCDisplay, model, images, name=f"{i}" * 300, ax=display.ax_)
    display.figure_.canvas.draw()
    assert display.ax_.get_window_extent().width > display.figure_.bbox.width / 2


@pytest.mark.parametrize("cls", [*CURVES, PerturbationDisplay])
def test_no_axes_are_refused(cls, model, images):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2)
    for no_axes in (figure, axes):
        with pytest.raises(ValueError, match=r"ax must be the axes to draw on, got (Figure|ndarray)"):
            if cls is PerturbationDisplay:
                cls.from_predictions(*faces_and_noise(), ax=no_axes)
            else:
                draw(cls, model, images, ax=no_axes)


@pytest.mark.parametrize("n", [10, 10**6])
@pytest.mark.parametrize("right", [True, False])
def test_perfect_scores_have_ticks_on_both_axes(n, right):
    is_genuine = np.arange(2 * n) < n
    display = DETDisplay.from_predictions(is_genuine == right, is_genuine)
    display.figure_.canvas.draw()
    for axis in (display.ax_.xaxis, display.ax_.yaxis):
        low, high = axis.get_view_interval()
        assert sum(low <= place <= high for place in axis.get_majorticklocs()) >= 2
    assert all(display.ax_.viewLim.contains(x, y) for x, y in display.line_.get_xydata())


def test_a_large_legend_hides_no_curve(model, images):
    display = draw(CMCDisplay, model, images, name="one")
    for i in range(3):
        draw(CMCDisplay, model, images, name=f"another {i}", ax=display.ax_)
    display.figure_.canvas.draw()
    legend, axes = display.ax_.get_legend().get_window_extent(), display.ax_.get_window_extent()
    assert legend.y1 < axes.y0  # below
    assert legend.x0 >= 0 and legend.x1 <= display.figure_.bbox.width and legend.y0 >= 0


def test_a_legend_on_a_part_of_a_figure():
    import matplotlib.pyplot as plt

    ax = plt.figure(layout="constrained").subfigures(1, 2)[0].subplots()
    for i in range(5):
        display = CMCDisplay(accuracy=[0.5, 1], name=f"{i} by a denoising autoencoder").plot(ax)
    ax.get_figure(root=True).canvas.draw()
    assert len(display.ax_.get_legend().get_texts()) == 5


@pytest.mark.parametrize("n_columns", [1, 5, 12])
def test_legends_of_a_grid_of_axes_leave_room_for_the_curves(n_columns):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, n_columns, figsize=(3 + 2.5 * n_columns, 5), layout="constrained", squeeze=False)
    for ax in axes.flat:
        for i in range(6):
            CMCDisplay(accuracy=[0.5, 1], name=f"{i} by a denoising autoencoder").plot(ax)
    figure.canvas.draw()
    least = 0.4 * figure.bbox.width / n_columns
    assert all(ax.get_window_extent().width > least for ax in axes.flat)


def faces_and_noise(n=2, channels=1):
    rng = np.random.default_rng(0)
    X = rng.uniform(0.2, 0.8, (n, 6, 5, channels)).astype(np.float32)
    return X, X + np.float32(4 / 255) * rng.choice([-1, 1], X.shape).astype(np.float32)


def drawn(axis):
    return np.asarray(axis.images[0].get_array())


@pytest.mark.parametrize("channels", [1, 3])
def test_faces_noise_and_mitigations(model, channels):
    X, X_adv = faces_and_noise(channels=channels)
    blur = GaussianBlur()
    y = model.predict(X)
    display = PerturbationDisplay.from_estimator(model, X, X_adv, y=y, defenses={"blur": blur})
    assert display.axes_.shape == (2, 4)
    seen = [X, 0.5 + 10 * (X_adv - X), X_adv, blur.transform(X_adv)]
    for row in range(2):
        for column, expected in enumerate(seen):
            np.testing.assert_allclose(drawn(display.axes_[row, column]), np.squeeze(expected[row]), atol=1e-6)
    assert [axis.get_title() for axis in display.axes_[0]] == ["original", "noise × 10", "adversarial", "blur"]
    assert display.axes_[0, 0].get_xlabel() == f"✓ seen as {y[0]}"
    assert display.axes_[1, 3].get_xlabel().endswith(f"seen as {model.predict(blur.transform(X_adv))[1]}")
    assert display.axes_[0, 1].get_xlabel().startswith("linf 4/255, l2 0.")
    assert display.axes_[0, 0].images[0].get_clim() == (0, 1)


def test_defences_of_a_pipeline_one_after_the_other(model):
    X, X_adv = faces_and_noise()
    pipeline = make_pipeline(GaussianBlur(), GaussianBlur(sigma=2), model)
    display = PerturbationDisplay.from_estimator(pipeline, X, X_adv)
    assert [axis.get_title() for axis in display.axes_[0, 3:]] == ["gaussianblur-1", "gaussianblur-2"]
    once = GaussianBlur().transform(X_adv)
    twice = GaussianBlur(sigma=2).transform(once)
    np.testing.assert_allclose(drawn(display.axes_[1, 3]), once[1, ..., 0])
    np.testing.assert_allclose(drawn(display.axes_[1, 4]), twice[1, ..., 0])
    np.testing.assert_array_equal(display.seen_as["gaussianblur-2"], model.predict(twice))
    np.testing.assert_array_equal(display.seen_as["adversarial"], model.predict(X_adv))  # by the model at its end
    assert display.axes_[0, 0].get_xlabel() == f"seen as {model.predict(X)[0]}"  # neither right nor wrong


def test_large_changes_are_written_without_powers_of_ten():
    X = np.zeros((1, 4, 4, 1), dtype=np.float32)
    display = PerturbationDisplay.from_predictions(X, X + np.float32(210 / 255))
    assert display.axes_[0, 1].get_xlabel() == "linf 210/255, l2 3.3"


def test_wrong_predictions_are_marked_and_names_made_harmless():
    X, X_adv = faces_and_noise()
    seen_as = {"original": ["Ann", "B$b$"], "adversarial": ["a very long name indeed", "B$b$"]}
    display = PerturbationDisplay.from_predictions(X, X_adv, seen_as=seen_as, y=["Ann", "B$b$"])
    texts = [[axis.get_xlabel() for axis in row] for row in display.axes_]
    assert (texts[0][0], texts[0][2]) == ("✓ seen as Ann", "✗ seen as a very lon…")
    assert texts[1][2] == "✓ seen as B$b$"
    colors = [display.axes_[0, i].xaxis.label.get_color() for i in (0, 2)]
    assert colors[0] != colors[1]
    display.figure_.canvas.draw()
    below = [axis.xaxis.label.get_window_extent() for axis in display.axes_[:, [0, 2]].flat]
    assert all(each.x0 >= 0 and each.x1 <= display.figure_.bbox.width for each in below), "cut off at the edge"


def test_faces_in_the_place_of_an_axes():
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2)
    display = PerturbationDisplay.from_predictions(*faces_and_noise(), ax=axes[1], cmap="viridis")
    assert display.figure_ is figure and not axes[1].axison
    assert all(axis.get_position().x0 >= axes[1].get_position().x0 - 1e-9 for axis in display.axes_.ravel())
    assert display.axes_[0, 0].images[0].get_cmap().name == "viridis"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: CMCDisplay(accuracy=[1, 1], band=[0.9, 1]).plot(), "band must be three arrays"),
        (lambda: CMCDisplay(accuracy=[1, 1], band=([1, 2], [0, 1], [1])).plot(), "three arrays"),
        (lambda: CMCDisplay.from_predictions(["zoe"], [[1, 2]], classes=["ann", "bob"]), "enrolled identities"),
        (lambda: CMCDisplay.from_estimator(object(), None, None), "expected a face model, got object"),
        (lambda: VerificationROCDisplay.from_predictions([1.0, 2.0], [1, 1]), "genuine ones only"),
        (lambda: DETDisplay.from_predictions([1.0, np.nan], [1, 0]), "NaN"),
        (lambda: RobustnessCurveDisplay.from_predictions([0, 1], [[0, 1]], eps=[0, 1]), r"\(1, 2\) for 2 sizes"),
        (lambda: RobustnessCurveDisplay.from_predictions([0], [[0], [0]], eps=[1, 1]), "eps must rise"),
        (lambda: RobustnessCurveDisplay.from_predictions([0], [["0"]], eps=[1]), "text never equals a number"),
        (lambda: RobustnessCurveDisplay.from_predictions([0], [[0]], eps=0.1), "sequence of sizes"),
        (lambda: RobustnessCurveDisplay.from_predictions([0], [[0]], eps=["x"]), "fraction such as"),
        (lambda: PerturbationDisplay.from_predictions(np.zeros((13, 4, 4, 1)), np.zeros((13, 4, 4, 1))), "pass a few"),
        (
            lambda: PerturbationDisplay.from_predictions(np.zeros((2, 4, 4)), np.zeros((2, 4, 4))),
            "up to 12 images of shape",
        ),
        (lambda: PerturbationDisplay.from_predictions(*faces_and_noise(), seen_as={"orig": [0, 1]}), "got .'orig'."),
        (
            lambda: PerturbationDisplay.from_predictions(*faces_and_noise(), mitigated={"original": faces_and_noise()[0]}),
            "name of another column",
        ),
        (lambda: PerturbationDisplay.from_predictions(*faces_and_noise(), y=[1]), "got 1 in 'y' for 2 faces"),
        (lambda: PerturbationDisplay.from_predictions(*(255 * each for each in faces_and_noise())), "255"),
        (lambda: PerturbationDisplay.from_predictions(*(np.full((2, 4, 4, 1), i, np.uint8) for i in (7, 6))), "255"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_refuses_a_targeted_attack(model, images):
    with pytest.raises(ValueError, match="untargeted"):
        draw(RobustnessCurveDisplay, model, images, attack=FGSM(None, targeted=True))


def test_pyplot_is_imported_when_drawing_only():
    import subprocess
    import sys

    code = "import sys, smartbox.metrics; sys.exit('matplotlib' in sys.modules or 'tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
