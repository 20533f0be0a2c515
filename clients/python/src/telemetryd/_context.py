"""What only this process can know of where it runs: CI, containers and notebooks, the interpreter, this library.

Closed tables, each rule with its source. What is sent is a word of a table, a version or a yes; no variable's value
ever is. The cases in the project's ``tests/vectors/context`` hold this to the Rust client.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    Rule = tuple[str, tuple[str, ...]]

#: Values of `CI` and of its like that say no.
_NO = frozenset(("", "0", "false", "no", "off"))

#: The name of a CI, and the variables of which one is set there. Each from the vendor's page on predefined variables.
_CI: tuple[Rule, ...] = (
    ("github_actions", ("GITHUB_ACTIONS",)),
    ("gitlab", ("GITLAB_CI",)),
    ("circleci", ("CIRCLECI",)),
    ("travis", ("TRAVIS",)),
    ("buildkite", ("BUILDKITE",)),
    ("jenkins", ("JENKINS_URL", "HUDSON_URL")),
    ("teamcity", ("TEAMCITY_VERSION",)),
    ("bitbucket", ("BITBUCKET_BUILD_NUMBER",)),
    ("azure_pipelines", ("TF_BUILD",)),
    ("codebuild", ("CODEBUILD_BUILD_ID", "CODEBUILD_BUILD_ARN")),
    ("bamboo", ("bamboo.buildKey", "bamboo_buildKey")),
    ("appveyor", ("APPVEYOR",)),
    ("drone", ("DRONE",)),
)

#: Variables that say that it is some CI.
_SOME_CI = ("CI", "CONTINUOUS_INTEGRATION", "BUILD_NUMBER", "BUILD_ID")

#: Where a process runs, and the variables of which one is set there.
_SET: tuple[Rule, ...] = (
    ("kubernetes", ("KUBERNETES_SERVICE_HOST", "KUBE_NODE_NAME", "KUBE_POD_NAME", "KUBE_POD_NAMESPACE")),
    ("codespaces", ("CODESPACES",)),
    ("github_actions", ("GITHUB_ACTIONS",)),
    ("colab", ("COLAB_RELEASE_TAG",)),
    ("airflow", ("AIRFLOW_CTX_TASK_ID",)),
    ("databricks", ("DATABRICKS_RUNTIME_VERSION",)),
    ("aws_lambda", ("AWS_LAMBDA_FUNCTION_NAME",)),
    ("gcp_cloud_function", ("FUNCTION_NAME",)),
    ("streamlit", ("STREAMLIT_SERVER_PORT",)),
    ("claude_code", ("CLAUDECODE",)),
    ("cursor", ("CURSOR_AGENT",)),
    ("codex", ("CODEX_CI", "CODEX_THREAD_ID", "CODEX_SANDBOX")),
)

#: Frameworks that run a tool inside of their own process, by a module that is loaded then.
_MODULES: tuple[Rule, ...] = (
    ("notebook", ("ipykernel",)),
    ("dagster", ("dagster",)),
    ("prefect", ("prefect",)),
    ("marimo", ("marimo",)),
)

#: Files that a container's runtime makes (Docker; containers-common).
_FILES = (("docker", "/.dockerenv"), ("podman", "/run/.containerenv"))


def _set(environment: Mapping[str, str], names: tuple[str, ...]) -> bool:
    return any(environment.get(name, "").lower() not in _NO for name in names)


def ci(environment: Mapping[str, str]) -> str | None:
    """The name of the CI that this runs in, ``"unknown"`` for one without a name; ``None``: it is none.
    ``CI=false`` is not CI."""
    for name, variables in _CI:
        if _set(environment, variables):
            return name
    return "unknown" if _set(environment, _SOME_CI) else None


def in_ci(environment: Mapping[str, str]) -> bool:
    """Whether this is a run of continuous integration."""
    return ci(environment) is not None


def exec_info(environment: Mapping[str, str], modules: Collection[str], exists: Callable[[str], bool]) -> list[str]:
    """Words for where this process runs, in the order of the tables."""
    found = [word for word, path in _FILES if exists(path)]
    found += [word for word, names in _SET if _set(environment, names)]
    found += [word for word, names in _MODULES if any(name in modules for name in names)]
    return found


def context(environment: Mapping[str, str]) -> dict[str, Any]:
    """All that is known."""
    from . import __version__

    return {
        "ci": in_ci(environment),
        "runtime": {
            "name": "python",
            "version": ".".join(map(str, sys.version_info[:3])),
            "implementation": sys.implementation.name,
        },
        "library": {"name": "telemetryd-python", "version": __version__},
        "exec_info": exec_info(environment, sys.modules, os.path.exists),
        "venv": sys.prefix != sys.base_prefix or bool(environment.get("VIRTUAL_ENV")),
        "conda": bool(environment.get("CONDA_DEFAULT_ENV")),
    }
