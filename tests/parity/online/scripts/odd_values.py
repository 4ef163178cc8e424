# SPDX-License-Identifier: MIT
"""Values at the edges: of rows, of the config and of the summary; a row of very many metrics."""
import wandb

run = wandb.init(config={"inf": float("inf"), "nan": float("nan"), "big": 10**30, "empty": {}, "list": [], "none": None,
                         "nested": {"a": {"b": [1, {"c": None}]}}, "unicode": "h\u00e9 \U0001f600 \u2028",
                         "with.dot": 1, "quote\"d": "\\"})
run.log({"inf": float("inf"), "ninf": float("-inf"), "nan": float("nan"), "zero": -0.0, "tiny": 5e-324, "huge": 1.7e308,
         "int": 2**63 - 1, "beyond": 2**70, "text": "line\nbreak\ttab \x01 \u2028", "none": None, "list": [1, [2, "x"]],
         "quote\"d": 1, "with.dot": 2, "sl/ash": 3, "\u00e9": 4})
run.log({f"metric/{i}": i / 7 for i in range(3000)})
run.log({"nested": {"a": {"b": float("nan")}, "e": {}}})
run.summary.update({"s": {"x": float("inf"), "y": [None]}, "text": "\u2028"})
run.finish()
