# SPDX-License-Identifier: MIT
"""NaN, infinities, huge and tiny numbers, integers beyond 64 bits."""
# shows: history summary
import math

import numpy as np
import wandb

run = wandb.init()
run.log({"nan": math.nan, "inf": math.inf, "minus": -math.inf, "tiny": 5e-324,
         "huge": 1.7976931348623157e308})
run.log({"big": 2**63 - 1, "small": -(2**63), "_beyond": 2**64 + 1, "_far": 10**30,
         "minus_zero": -0.0})
run.log({"f32": np.float32(0.1), "f16": np.float16(0.1), "i8": np.int8(-5),
         "u64": np.uint64(2**64 - 1), "bool": np.bool_(True)})
run.log({"one": 1.0, "e": 1e21, "e2": 1e-7, "third": 1 / 3, "sum": 0.1 + 0.2, "million": 1e6})
run.log({"nested": {"nan": math.nan, "list": [1, math.inf, None]}})
run.log({"array": np.arange(4), "matrix": np.eye(2), "zero_d": np.array(3.5)})
run.log({"mixed": math.nan})
run.log({"mixed": 1.0})
for key in ("nan", "inf", "minus", "mixed", "big", "_beyond"):
    print(key, float(run.summary[key]))
run.finish()
