"""What a detector costs."""

import time

import numpy as np

_CALLS = 3
_ENOUGH = 0.5  # seconds


def milliseconds_a_face(function, X):
    """Of the quickest of a few calls; one that takes long is called once, and the first face pays for what is compiled."""
    function(X[:1])
    taken = []
    while len(taken) < _CALLS and sum(taken) < _ENOUGH:
        start = time.perf_counter()
        function(X)
        taken.append(time.perf_counter() - start)
    return 1000 * min(taken) / len(X)


def costs(face, detectors, X):
    """Of each detector, the network's pass included: milliseconds a face, and the same in plain passes of the network."""
    plain = milliseconds_a_face(face.logits, X)
    taken = {name: milliseconds_a_face(detector.decision_function, X) for name, detector in detectors.items()}
    return {name: {"ms_per_face": ms, "plain_passes": ms / plain if plain else np.nan} for name, ms in taken.items()}
