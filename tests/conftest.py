"""What all tests share."""

import signal

# A shell starts what runs in the background with Ctrl-C ignored, and children inherit it: then no interruption could be tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
