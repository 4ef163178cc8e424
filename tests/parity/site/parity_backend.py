# SPDX-License-Identifier: MIT
"""What a script of online/scripts may ask of the recording backend it logs to."""

import json
import os
import time
import urllib.request

URL = os.environ.get("PARITY_BACKEND", "")


def control(**order):
    request = urllib.request.Request(URL + "/__control", json.dumps(order).encode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request) as answer:
        return json.load(answer)


def fault(match, what, times=1, skip=0):
    """The next `times` requests that match (an operation, "file_stream", "put", "*") fail."""
    control(fault=[match, what, times, skip])


def clear():
    control(clear=True)


def features(*names):
    control(features=names)


def pause(seconds):
    """Nothing listens for so long, from now on."""
    control(pause=seconds)


def stop(run_id):
    """Somebody presses the stop button of the run."""
    control(stop=run_id)


def wait_for(kind, name=None, fault="", times=1):
    """Until the backend has seen such requests."""
    while True:
        seen = [r for r in control()["requests"]
                if r[0] == kind and name in (None, r[1]) and r[2] == fault]
        if len(seen) >= times:
            return
        time.sleep(0.05)


def wait_for_lines(run_id, file, n):
    """Until so many lines of the run's file have come."""
    while control()["lines"].get(run_id, {}).get(file, 0) < n:
        time.sleep(0.05)
