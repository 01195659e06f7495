"""What all tests share."""

import os
import signal

import pytest

# A shell starts what runs in the background with Ctrl-C ignored, and children inherit it: then no interruption could be tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers(config):
    """A process for each core where the whole suite is run; single files start sooner in one, and slow tests want all cores."""
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and config.option.markexpr == "not slow"
    return (os.cpu_count() or 1) if is_whole and not config.option.keyword else 0
