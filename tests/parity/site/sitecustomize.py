# SPDX-License-Identifier: MIT
"""Makes the unmodified wandb package start the service named by PARITY_CORE.

Python imports this by itself at start-up because the harness puts its folder on PYTHONPATH; so
it also reaches child processes that start a service of their own.
"""

import importlib.abc
import importlib.util
import os
import sys

LAUNCHER = "wandb.sdk.lib.service.service_process"


class Redirect(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != LAUNCHER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            module.get_core_path = lambda: os.environ["PARITY_CORE"]

        spec.loader.exec_module = exec_module
        return spec


if "PARITY_CORE" in os.environ:
    sys.meta_path.insert(0, Redirect())
