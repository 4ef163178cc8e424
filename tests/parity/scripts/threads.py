# SPDX-License-Identifier: MIT
"""Many threads log into one run; each step by one of them."""
# shows: history
import threading

import wandb

run = wandb.init()
lock = threading.Lock()


def work(n):
    for i in range(25):
        with lock:
            run.log({f"t{n}": i})


threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for n, t in enumerate(threads):
    t.start()
    t.join()
run.finish()
