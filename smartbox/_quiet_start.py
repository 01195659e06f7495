"""TensorFlow started without the notes that it writes on the way."""

import os
import sys


def import_tensorflow_quietly(threads=None):
    """Its notes go straight to file 2, past every logger; they say nothing to somebody who wants tables, or JSON lines.

    Parameters
    ----------
    threads : int, optional
        Of one operation. Where TensorFlow is imported already nothing can be changed.
    """
    is_new = "tensorflow" not in sys.modules
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow

        if is_new and threads is not None:
            tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.list_logical_devices()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
