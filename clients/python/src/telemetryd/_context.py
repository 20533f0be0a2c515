"""What only this process can know of where it runs: CI, containers and notebooks, the interpreter, this library.

Closed tables. What is sent is a word of a table, a version or a yes; no variable's value ever is. The rules are those
of the Rust client (``crates/telemetry-client/src/context/table.rs``, with the source of each), and both run the cases
in ``tests/vectors/context``; only what is loaded into an interpreter is known here alone.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    #: A word; how it is recognised (``set``: one of these variables is; ``is``: this variable has this value;
    #: ``set_and_is``: the first is set and the second has this value; ``there``: this file is); by what.
    Rule = tuple[str, str, tuple[str, ...]]

#: Values that say no, in any case: `CI=false` is not CI.
_NO = frozenset(("", "0", "false", "no", "off"))

#: CI systems by name; the first that fits.
_CI: tuple[Rule, ...] = (
    ("gitea_actions", "set", ("GITEA_ACTIONS",)),
    (
        "github_actions",
        "set",
        (
            "GITHUB_ACTIONS",
            "GITHUB_ACTION",
        ),
    ),
    ("gitlab", "set", ("GITLAB_CI",)),
    ("circleci", "set", ("CIRCLECI",)),
    ("travis", "set", ("TRAVIS",)),
    ("buildkite", "set", ("BUILDKITE",)),
    (
        "jenkins",
        "set",
        (
            "JENKINS_URL",
            "HUDSON_URL",
        ),
    ),
    ("teamcity", "set", ("TEAMCITY_VERSION",)),
    (
        "bitbucket",
        "set",
        (
            "BITBUCKET_BUILD_NUMBER",
            "BITBUCKET_COMMIT",
        ),
    ),
    ("azure_pipelines", "set", ("TF_BUILD",)),
    (
        "codebuild",
        "set",
        (
            "CODEBUILD_BUILD_ID",
            "CODEBUILD_BUILD_ARN",
            "CODEBUILD_BATCH_BUILD_IDENTIFIER",
        ),
    ),
    (
        "bamboo",
        "set",
        (
            "bamboo.buildKey",
            "bamboo_buildKey",
        ),
    ),
    ("appveyor", "set", ("APPVEYOR",)),
    ("drone", "set", ("DRONE",)),
    (
        "woodpecker",
        "is",
        (
            "CI",
            "woodpecker",
        ),
    ),
    ("cirrus", "set", ("CIRRUS_CI",)),
    ("codefresh", "set", ("CF_BUILD_ID",)),
    ("codemagic", "set", ("CM_BUILD_ID",)),
    ("bitrise", "set", ("BITRISE_IO",)),
    ("buddy", "set", ("BUDDY_WORKSPACE_ID",)),
    ("gocd", "set", ("GO_PIPELINE_LABEL",)),
    ("google_cloud_build", "set", ("BUILDER_OUTPUT",)),
    ("harness", "set", ("HARNESS_BUILD_ID",)),
    ("netlify", "set", ("NETLIFY",)),
    ("prow", "set", ("PROW_JOB_ID",)),
    ("screwdriver", "set", ("SCREWDRIVER",)),
    ("semaphore", "set", ("SEMAPHORE",)),
    (
        "sourcehut",
        "is",
        (
            "CI_NAME",
            "sourcehut",
        ),
    ),
    (
        "codeship",
        "is",
        (
            "CI_NAME",
            "codeship",
        ),
    ),
    ("taskcluster", "set", ("TASKCLUSTER_ROOT_URL",)),
    ("vela", "set", ("VELA",)),
    ("vercel", "set", ("NOW_BUILDER",)),
    (
        "xcode_cloud",
        "set",
        (
            "CI_XCODE_CLOUD",
            "CI_XCODE_PROJECT",
        ),
    ),
)

#: What says that it is some CI, where none of these fits.
_SOME_CI = ("CI", "CONTINUOUS_INTEGRATION", "BUILD_NUMBER", "BUILD_ID")

#: Where a process runs: each that fits, once, in this order.
_EXECUTION: tuple[Rule, ...] = (
    ("docker", "there", ("/.dockerenv",)),
    ("podman", "there", ("/run/.containerenv",)),
    (
        "podman",
        "is",
        (
            "container",
            "podman",
        ),
    ),
    (
        "lxc",
        "is",
        (
            "container",
            "lxc",
        ),
    ),
    (
        "systemd_nspawn",
        "is",
        (
            "container",
            "systemd-nspawn",
        ),
    ),
    ("flatpak", "there", ("/.flatpak-info",)),
    ("snap", "set", ("SNAP_NAME",)),
    (
        "kubernetes",
        "set",
        (
            "KUBERNETES_SERVICE_HOST",
            "KUBE_NODE_NAME",
            "KUBE_POD_NAME",
            "KUBE_POD_NAMESPACE",
        ),
    ),
    (
        "aws_ecs",
        "set",
        (
            "ECS_CONTAINER_METADATA_URI_V4",
            "ECS_CONTAINER_METADATA_URI",
        ),
    ),
    ("wsl", "set", ("WSL_DISTRO_NAME",)),
    ("codespaces", "set", ("CODESPACES",)),
    ("gitpod", "set", ("GITPOD_WORKSPACE_ID",)),
    ("devcontainer", "set", ("REMOTE_CONTAINERS",)),
    ("replit", "set", ("REPL_ID",)),
    ("github_actions", "set", ("GITHUB_ACTIONS",)),
    ("notebook", "set", ("JPY_PARENT_PID",)),
    ("colab", "set", ("COLAB_RELEASE_TAG",)),
    ("kaggle", "set", ("KAGGLE_KERNEL_RUN_TYPE",)),
    (
        "sagemaker",
        "set",
        (
            "SM_TRAINING_ENV",
            "SAGEMAKER_APP_TYPE_LOWERCASE",
        ),
    ),
    (
        "airflow",
        "set",
        (
            "AIRFLOW_CTX_TASK_ID",
            "AIRFLOW_CTX_DAG_ID",
        ),
    ),
    ("dagster", "set", ("DAGSTER_RUN_JOB_NAME",)),
    ("prefect", "set", ("PREFECT__FLOW_RUN_ID",)),
    ("databricks", "set", ("DATABRICKS_RUNTIME_VERSION",)),
    ("aws_lambda", "set", ("AWS_LAMBDA_FUNCTION_NAME",)),
    (
        "gcp_cloud_function",
        "set",
        (
            "FUNCTION_NAME",
            "FUNCTION_TARGET",
        ),
    ),
    (
        "cloud_run",
        "set",
        (
            "K_SERVICE",
            "CLOUD_RUN_JOB",
        ),
    ),
    ("azure_functions", "set", ("FUNCTIONS_WORKER_RUNTIME",)),
    ("heroku", "set", ("DYNO",)),
    ("fly", "set", ("FLY_APP_NAME",)),
    ("streamlit", "set", ("STREAMLIT_SERVER_PORT",)),
    ("claude_code", "set", ("CLAUDECODE",)),
    (
        "claude_code_cli",
        "set_and_is",
        (
            "CLAUDECODE",
            "CLAUDE_CODE_ENTRYPOINT",
            "cli",
        ),
    ),
    ("cursor", "set", ("CURSOR_AGENT",)),
    (
        "codex",
        "set",
        (
            "CODEX_CI",
            "CODEX_THREAD_ID",
            "CODEX_SANDBOX",
        ),
    ),
    ("gemini_cli", "set", ("GEMINI_CLI",)),
    ("opencode", "set", ("OPENCODE",)),
    ("cline", "set", ("CLINE_ACTIVE",)),
    ("goose", "set", ("GOOSE_TERMINAL",)),
    ("augment", "set", ("AUGMENT_AGENT",)),
    ("amp", "set", ("AMP_CURRENT_THREAD_ID",)),
    ("ai_agent", "set", ("AI_AGENT",)),
)

#: What runs a tool inside of its own process, by a module that is loaded then (dlt 1.31).
_MODULES = (("notebook", "ipykernel"), ("dagster", "dagster"), ("prefect", "prefect"), ("marimo", "marimo"))


def _set(environment: Mapping[str, str], names: tuple[str, ...]) -> bool:
    return any(name in environment and environment[name].strip().lower() not in _NO for name in names)


def _is(environment: Mapping[str, str], name: str, value: str) -> bool:
    return environment.get(name, "").lower() == value


def _fits(rule: Rule, environment: Mapping[str, str], exists: Callable[[str], bool]) -> bool:
    _, sign, what = rule
    if sign == "set":
        return _set(environment, what)
    if sign == "is":
        return _is(environment, *what)
    if sign == "set_and_is":
        return _set(environment, what[:1]) and _is(environment, what[1], what[2])
    return exists(what[0])


def ci(environment: Mapping[str, str]) -> str | None:
    """The name of the CI that this runs in, ``"unknown"`` for one without a name; ``None``: it is none."""
    for rule in _CI:
        if _fits(rule, environment, os.path.exists):
            return rule[0]
    return "unknown" if _set(environment, _SOME_CI) else None


def in_ci(environment: Mapping[str, str]) -> bool:
    """Whether this is a run of continuous integration."""
    return ci(environment) is not None


def exec_info(
    environment: Mapping[str, str], exists: Callable[[str], bool], modules: Collection[str] = ()
) -> list[str]:
    """Words for where this process runs, each once."""
    found = [rule[0] for rule in _EXECUTION if _fits(rule, environment, exists)]
    found += [word for word, module in _MODULES if module in modules]
    return list(dict.fromkeys(found))


def environments(environment: Mapping[str, str]) -> dict[str, bool]:
    """Whether this is a virtual environment (PEP 405), and one of conda, as far as variables say it."""
    return {
        "venv": _set(environment, ("VIRTUAL_ENV",)),
        "conda": _set(environment, ("CONDA_DEFAULT_ENV", "CONDA_PREFIX")),
    }


def context(environment: Mapping[str, str]) -> dict[str, Any]:
    """All that is known."""
    from . import __version__

    name = ci(environment)
    facts: dict[str, Any] = {"ci": name is not None}
    if name is not None:
        facts["ci_name"] = name
    facts["runtime"] = {
        "name": "python",
        "version": ".".join(map(str, sys.version_info[:3])),
        "implementation": sys.implementation.name,
    }
    facts["library"] = {"name": "telemetryd-python", "version": __version__}
    facts["exec_info"] = exec_info(environment, os.path.exists, sys.modules)
    facts.update(environments(environment))
    # The interpreter of one, though nobody has activated it.
    facts["venv"] = facts["venv"] or sys.prefix != sys.base_prefix
    return facts
