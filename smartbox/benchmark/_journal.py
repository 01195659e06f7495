"""How far a run is: each piece as it is made, and what the rest will take."""

import logging
import time
from contextlib import contextmanager

from smartbox._progress import say, spoken

_SECONDS_BETWEEN_LINES = 30
# Until a kind of piece was met: what one takes beside the others, on faces and networks of the paper's size.
_WEIGHTS = {
    "network": 40, "defense": 60, "attacked": 20, "lesson": 40, "detector": 10, "recognised": 1, "scored": 1, "guarded": 2,
    "searched": 20, "costs": 2,
}  # fmt: skip
_log = logging.getLogger("smartbox.benchmark")


class Journal:
    """Counts the pieces of a run, and tells of each.

    Every piece is a record of the logger ``smartbox.benchmark``, with its figures as the record's ``event``; from time to time a
    line says how far the whole is.

    Parameters
    ----------
    pieces : iterable of tuple, default=()
        What each seed is going to ask for.
    seeds : iterable of int, default=()
    verbose : int, default=0

    Attributes
    ----------
    all_made : list of (seed, piece, seconds)
    n_workers : int
        That make pieces at the same time.
    """

    def __init__(self, pieces=(), seeds=(), verbose=0):
        self.left = {(seed, piece) for seed in seeds for piece in pieces}
        self.n_all = len(self.left)
        self.verbose = verbose
        self.all_made = []
        self.n_workers = 1
        self._seconds = {}  # by what is alike: how many pieces, and what they took together
        self._inner = []  # of each piece in the making, the seconds of those that it waited for
        self._begun = self._said = time.monotonic()

    @contextmanager
    def making(self, seed, *pieces):
        """Within the block some pieces are made together; the time of others that are made for them is not theirs."""
        begun = time.monotonic()
        self._inner.append(0.0)
        try:
            yield
        finally:
            whole, inner = time.monotonic() - begun, self._inner.pop()
            if self._inner:
                self._inner[-1] += whole
        for piece in pieces:
            self.made(seed, piece, (whole - inner) / len(pieces))

    def made(self, seed, piece, seconds):
        """A piece was made."""
        self.all_made.append((seed, piece, seconds))
        for like in _alike(piece):
            n, total = self._seconds.get(like, (0, 0.0))
            self._seconds[like] = n + 1, total + seconds
        self._tell(seed, piece, seconds, "made")
        if time.monotonic() - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            if self.left:
                say(f"All in all: {_how_far(self._figures())}", enabled=self.verbose)

    def fetched(self, seed, piece):
        """A piece came from the store."""
        if (seed, piece) in self.left:
            self._tell(seed, piece, 0.0, "cache")

    def ended(self, seed):
        """A seed is complete; what is left of it could not be made, such as an attack that no gradient leads."""
        self.left = {each for each in self.left if each[0] != seed}
        _log.info("seed %d is complete", seed, extra={"event": {"event": "seed", "seed": seed, **self._figures()}})

    def seconds_left(self):
        """What the rest will take, and whether all of it has its like among what was made; None before anything was."""
        if not self.all_made:
            return (None, False) if self.left else (0.0, True)
        weights = sum(_WEIGHTS[piece[0]] for _, piece, _ in self.all_made)
        pace = sum(seconds for *_, seconds in self.all_made) / weights
        guesses = [self._guess(piece) for _, piece in self.left]
        whole = sum(_WEIGHTS[piece[0]] * pace if guess is None else guess
                    for guess, (_, piece) in zip(guesses, self.left, strict=True))  # fmt: skip
        return whole / self.n_workers, None not in guesses

    def _guess(self, piece):
        """Seconds of the likest pieces; None if none is of its kind."""
        for like in _alike(piece):
            if like in self._seconds:
                n, total = self._seconds[like]
                return total / n
        return None

    def _tell(self, seed, piece, seconds, source):
        self.left.discard((seed, piece))
        if _log.isEnabledFor(logging.INFO):
            event = {"event": "piece", "seed": seed, "piece": list(piece), "seconds": round(seconds, 3), "source": source}
            how = f"{seconds:.1f} s" if source == "made" else "from the cache"
            text = f"seed {seed}, {' '.join(filter(None, piece))}: {how}"
            figures = self._figures()
            _log.info("%s; %s", text, _how_far(figures), extra={"event": {**event, **figures}})

    def _figures(self):
        seconds, has_likes = self.seconds_left()
        return {
            "done": self.n_all - len(self.left),
            "all": self.n_all,
            "elapsed": round(time.monotonic() - self._begun, 3),
            "seconds_left": None if seconds is None else round(seconds, 3),
            "is_rough": not has_likes,
        }


def _how_far(figures):
    parts = [f"{figures['done']} of {figures['all']} pieces", spoken(figures["elapsed"])]
    if figures["seconds_left"]:
        parts.append(f"{'very roughly' if figures['is_rough'] else 'about'} {spoken(figures['seconds_left'])} left")
    return ", ".join(parts)


def _alike(piece):
    """What a piece is like, the likest first: itself with another seed, the same of another thing, its kind."""
    yield piece
    yield piece[:2]
    yield piece[:1]
