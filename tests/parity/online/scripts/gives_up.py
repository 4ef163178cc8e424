# SPDX-License-Identifier: MIT
"""As many tries as the settings allow, all in vain; an end that waits no longer than it may."""
import parity_backend
import wandb

ONCE = {"x_graphql_retry_max": 1, "x_graphql_retry_wait_min_seconds": 0.1, "x_graphql_retry_wait_max_seconds": 0.1}
for what in ("500", "reset", "429"):
    parity_backend.fault("UpsertBucket", what, 2)
    try:
        wandb.init(settings=wandb.Settings(**ONCE))
    except Exception as e:
        print(type(e).__name__, str(e).split("attempt(s):")[0])
    parity_backend.clear()

parity_backend.fault("file_stream", "500", -1)
run = wandb.init(settings=wandb.Settings(finish_timeout=2))
run.log({"x": 1})
run.finish()
parity_backend.clear()
