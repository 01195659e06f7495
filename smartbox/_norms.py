"""Size, projection, steepest step and random start for l1, l2 and linf balls inside the pixel box: row-wise NumPy.

Every function takes rows ``(n, d)`` and ``eps`` as a number or one per row. ``low`` and ``high`` are the room that a pixel has
below and above its value (``-x`` and ``1 - x``), so that ``low <= 0 <= high``. Projections and steps are exact for the ball and
the box together; see the Karush-Kuhn-Tucker conditions in each function.
"""

import numpy as np

NORMS = ("l1", "l2", "linf")
_MAX_NEWTON = 60


def size(delta, norm):
    """Norm of each row, in float64, shape ``(n,)``."""
    if norm == "linf":
        return np.abs(delta).max(axis=1, initial=0).astype(np.float64)
    if norm == "l2":
        return np.sqrt(np.einsum("ij,ij->i", delta, delta, dtype=np.float64))
    return np.abs(delta).sum(axis=1, dtype=np.float64)


def project(delta, low, high, eps, norm):
    """Nearest point (Euclidean) of each row in ``{||.|| <= eps} and {low <= . <= high}``."""
    eps = _per_row(eps, delta)
    if norm == "linf":
        radius = eps[:, None].astype(delta.dtype)
        return np.clip(delta, np.maximum(low, -radius), np.minimum(high, radius))
    inside = np.clip(delta, low, high)
    outside = np.flatnonzero(size(inside, norm) > eps)
    if outside.size:
        solve = _shrink_l2 if norm == "l2" else _shrink_l1
        inside[outside] = solve(delta[outside], low[outside], high[outside], eps[outside])
    return inside


def steepest(gradient, low, high, eps, norm):
    """The row that maximises ``gradient . delta`` in the ball and the box; all zero where the gradient is."""
    eps = _per_row(eps, gradient)
    if norm == "linf":
        step = np.sign(gradient) * eps[:, None].astype(gradient.dtype)
        return np.clip(step, low, high)
    solve = _steepest_l2 if norm == "l2" else _steepest_l1
    return solve(gradient, low, high, eps)


def random_start(streams, low, high, eps, norm):
    """A uniform draw from each row's ball, cut to the box. ``streams`` gives one random stream a row."""
    d = low.shape[1]
    eps = _per_row(eps, low)
    if norm == "linf":
        delta = (2 * streams.uniform(d) - 1) * eps[:, None]
    elif norm == "l2":
        direction = streams.normal(d)
        radius = eps * streams.uniform(1)[:, 0] ** (1 / d)
        delta = direction * (radius / np.maximum(size(direction, "l2"), 1e-30))[:, None]
    else:
        # d coordinates and one remainder of an exponential draw are uniform on the simplex (Dirichlet(1, ..., 1)).
        mass = -np.log1p(-streams.uniform(d + 1))
        signs = np.where(streams.uniform(d) < 0.5, -1.0, 1.0)
        delta = signs * mass[:, :d] * (eps / mass.sum(axis=1))[:, None]
    return np.clip(delta, low, high).astype(low.dtype)


def _per_row(eps, rows):
    return np.broadcast_to(np.asarray(eps, dtype=np.float64), (len(rows),))


def _room(direction, low, high):
    """How far each pixel can go along the sign of ``direction``."""
    return np.where(direction > 0, high, np.where(direction < 0, -low, 0)).astype(direction.dtype)


def _shrink_l2(delta, low, high, eps):
    """Solve ``clip(s * delta, low, high)`` for the ``s`` in (0, 1) that gives the norm eps.

    The stationary point is ``clip(delta / (1 + lambda), low, high)``. From ``s = eps / ||delta||``, a lower bound, ``s`` only
    grows as more pixels reach the box, so repeating the closed form for the free pixels ends after finitely many rounds.
    """
    return _scaled_to_norm(delta, _room(delta, low, high), eps)


def _steepest_l2(gradient, low, high, eps):
    """``clip(lambda * gradient, low, high)`` with ``lambda`` so large that the norm is eps, or every pixel is at its wall."""
    biggest = np.abs(gradient).max(axis=1, initial=0)
    scale = np.where(biggest > 0, biggest, 1)[:, None]  # squares of tiny gradients would vanish in float32
    return _scaled_to_norm(gradient / scale, _room(gradient, low, high), eps)


def _scaled_to_norm(direction, room, eps):
    magnitude = np.abs(direction)
    factor = eps / np.maximum(size(direction, "l2"), 1e-30)
    open_rows = np.arange(len(direction))
    for _ in range(_MAX_NEWTON):
        reach, wall = magnitude[open_rows] * factor[open_rows, None], room[open_rows]
        free = reach < wall
        spent = np.sum(np.where(free, 0, wall) ** 2, axis=1, dtype=np.float64)
        rest = np.sum(np.where(free, magnitude[open_rows], 0) ** 2, axis=1, dtype=np.float64)
        left = np.maximum(eps[open_rows] ** 2 - spent, 0)
        better = np.where(rest > 0, np.sqrt(left / np.where(rest > 0, rest, 1)), factor[open_rows])
        moved = better > factor[open_rows] * (1 + 1e-9)
        factor[open_rows] = np.maximum(better, factor[open_rows])
        open_rows = open_rows[moved]
        if not open_rows.size:
            break
    return (np.sign(direction) * np.minimum(magnitude * factor[:, None], room)).astype(direction.dtype)


def _shrink_l1(delta, low, high, eps):
    """Solve ``sum min(max(|delta| - tau, 0), room) = eps`` for each row's ``tau``: soft threshold and box together.

    Newton on a piecewise linear, decreasing function, kept inside a bracket: exact once the set of moving pixels is right.
    """
    magnitude, room = np.abs(delta), _room(delta, low, high)
    below, above = np.zeros(len(delta)), magnitude.max(axis=1, initial=0).astype(np.float64)
    tau = np.maximum((magnitude.sum(axis=1, dtype=np.float64) - eps) / delta.shape[1], 0)
    open_rows = np.arange(len(delta))
    for _ in range(_MAX_NEWTON):
        left = magnitude[open_rows] - tau[open_rows, None].astype(magnitude.dtype)
        moving = (left > 0) & (left < room[open_rows])
        excess = np.clip(left, 0, room[open_rows]).sum(axis=1, dtype=np.float64) - eps[open_rows]
        below[open_rows] = np.where(excess > 0, tau[open_rows], below[open_rows])
        above[open_rows] = np.where(excess > 0, above[open_rows], tau[open_rows])
        newton = tau[open_rows] + excess / np.maximum(moving.sum(axis=1), 1)
        middle = (below[open_rows] + above[open_rows]) / 2
        usable = (newton >= below[open_rows]) & (newton <= above[open_rows]) & moving.any(axis=1)
        following = np.where(usable, newton, middle)
        done = (np.abs(excess) <= 1e-7 * eps[open_rows]) | (above[open_rows] - below[open_rows] <= 1e-9)
        tau[open_rows[~done]] = following[~done]
        open_rows = open_rows[~done]
        if not open_rows.size:
            break
    shrunk = np.clip(magnitude - tau[:, None], 0, room)
    total = shrunk.sum(axis=1, dtype=np.float64)
    shrunk *= np.minimum(1, eps / np.maximum(total, 1e-30))[:, None]  # the last rounding may not leave the ball
    return (np.sign(delta) * shrunk).astype(delta.dtype)


def _steepest_l1(gradient, low, high, eps):
    """Spend eps on the pixels of largest gradient, each up to its wall (a fractional knapsack, hence the exact optimum)."""
    d = gradient.shape[1]
    magnitude, room = np.abs(gradient), _room(gradient, low, high)
    # Pixels needed are few, so only the largest are sorted; where their room does not suffice, all of them.
    most = min(d, 64 + 8 * int(np.ceil(eps.max(initial=0))))
    largest = np.argpartition(-magnitude, most - 1, axis=1)[:, :most] if most < d else np.argsort(-magnitude, axis=1)
    if most < d and (np.take_along_axis(room, largest, axis=1).sum(axis=1) < eps).any():
        largest = np.argpartition(-magnitude, d - 1, axis=1)
    order = np.argsort(-np.take_along_axis(magnitude, largest, axis=1), axis=1, kind="stable")
    order = np.take_along_axis(largest, order, axis=1)
    walls = np.take_along_axis(room, order, axis=1).astype(np.float64)
    before = np.cumsum(walls, axis=1) - walls
    spend = np.clip(eps[:, None] - before, 0, walls)
    step = np.zeros_like(gradient)
    signs = np.sign(np.take_along_axis(gradient, order, axis=1))
    np.put_along_axis(step, order, (signs * spend).astype(gradient.dtype), axis=1)
    return step
