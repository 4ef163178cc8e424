# SPDX-License-Identifier: MIT
"""Rows whose values are typed beside their JSON (setting x_history_value_encoding)."""
# shows: history summary
import math

import wandb

for encoding in ("json,typed", "json"):
    run = wandb.init(settings=wandb.Settings(x_history_value_encoding=encoding))
    run.log({"i": 1, "f": 2.5, "s": "text", "b": True, "n": None, "nan": math.nan,
             "inf": -math.inf})
    run.log({"nested": {"i": -7, "list": [1, "a"]}, "big": 2**62, "neg": -1, "zero": 0})
    run.define_metric("m", summary="max,min,mean")
    for v in (1, 2.5, -3):
        run.log({"m": v})
    run.finish()
