# SPDX-License-Identifier: MIT
import signal

# A shell that starts this in the background hands down an ignored SIGINT, and then the programs of
# the tests, which are interrupted on purpose, could not be.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
