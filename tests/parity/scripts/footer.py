# SPDX-License-Identifier: MIT
"""What the client shows at the end: sampled history and summary from the service."""
# shows: history summary
import wandb

run = wandb.init()
for i in range(60):
    run.log({"loss": 1 / (i + 1), "acc": i, "const": 5, "text": "t", "nested": {"deep": i % 7},
             "neg": -i, "sometimes" if i % 3 == 0 else "other": i})
run.summary["final"] = "done"
run.finish()
