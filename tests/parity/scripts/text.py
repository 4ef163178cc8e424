# SPDX-License-Identifier: MIT
"""Keys and values in many scripts, control characters, long strings, big rows."""
# shows: history summary
import wandb

run = wandb.init(config={"größe": "µ", "表": ["列", "\U0001f600"], "quote\"d": "back\\slash"})
run.log({"größe": "ä", "表": 1, "\U0001f680": 2, "sp ace": 3, "quote\"": 4,
         "back\\slash": 5, "tab\t": 6})
run.log({"control": "\x01\x1f\u2028\u2029", "newline": "a\nb", "html": "<b>&amp;</b>"})
run.log({"long": "x" * 100_000})
run.log({f"key_{i}": i for i in range(2000)})
run.log({"deep": {str(i): {str(j): i * j for j in range(20)} for i in range(20)}})
run.log({"": 1, ".": 2, "..": 3, "a..b": 4, ".a": 5})
run.finish()
