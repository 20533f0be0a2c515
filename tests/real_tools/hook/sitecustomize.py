"""Kedro-Telemetry has no setting for where it sends: this changes that one constant after the import, and nothing else.
Python imports it by itself where its folder is on PYTHONPATH."""

import importlib.abc
import importlib.machinery
import os
import sys

WHERE = os.environ.get("REAL_TOOLS_HEAP_ENDPOINT")


class Redirect(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "kedro_telemetry.plugin":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            module.HEAP_ENDPOINT = WHERE

        spec.loader.exec_module = exec_module
        return spec


if WHERE:
    sys.meta_path.insert(0, Redirect())
