//! The closed tables of surroundings: CI systems and execution environments, each rule with its source.
//!
//! What leaves is a word of these tables, never a variable's value. Every rule is shown by a case in
//! `tests/vectors/context/`, which clients of other languages run too; what only a language can know (Python's loaded
//! modules) is theirs. The rules come from the vendors' pages, and from what Kedro, dlt and other tools look for
//! (`docs/seeds.md` says which of them had which).

/// How a rule is recognised. A variable counts as set unless its value says no ([`NO`]).
#[derive(Clone, Copy, Debug)]
pub enum Sign {
    /// One of these variables is set.
    Set(&'static [&'static str]),
    /// This variable has this value, whatever its case.
    Is(&'static str, &'static str),
    /// The first is set, and the second has this value.
    SetAndIs(&'static str, &'static str, &'static str),
    /// This file or directory is there.
    There(&'static str),
}

/// A word, what it is recognised by, and where that is written.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// What leaves.
    pub word: &'static str,
    /// What it is recognised by.
    pub sign: Sign,
    /// Where that is written.
    pub source: &'static str,
}

/// Values of a variable that say no, in any case: `CI=false` is not CI.
pub const NO: [&str; 5] = ["", "0", "false", "no", "off"];

const fn set(word: &'static str, names: &'static [&'static str], source: &'static str) -> Rule {
    Rule {
        word,
        sign: Sign::Set(names),
        source,
    }
}

const fn is(word: &'static str, name: &'static str, value: &'static str, source: &'static str) -> Rule {
    Rule {
        word,
        sign: Sign::Is(name, value),
        source,
    }
}

const fn there(word: &'static str, path: &'static str, source: &'static str) -> Rule {
    Rule {
        word,
        sign: Sign::There(path),
        source,
    }
}

/// CI systems by name; the first that fits. `CI=false` beside a vendor's own variable changes nothing: it is set there
/// to quiet a build, and the machine is no person's all the same.
pub const CI: &[Rule] = &[
    // Before github_actions: it sets those variables too.
    set(
        "gitea_actions",
        &["GITEA_ACTIONS"],
        "Gitea, Act runner: variables",
    ),
    set(
        "github_actions",
        &["GITHUB_ACTIONS", "GITHUB_ACTION"],
        "GitHub, Variables reference",
    ),
    set("gitlab", &["GITLAB_CI"], "GitLab, Predefined CI/CD variables"),
    set(
        "circleci",
        &["CIRCLECI"],
        "CircleCI, Project values and variables",
    ),
    set("travis", &["TRAVIS"], "Travis CI, Environment variables"),
    set("buildkite", &["BUILDKITE"], "Buildkite, Environment variables"),
    set(
        "jenkins",
        &["JENKINS_URL", "HUDSON_URL"],
        "Jenkins, Using environment variables",
    ),
    set(
        "teamcity",
        &["TEAMCITY_VERSION"],
        "TeamCity, Predefined build parameters",
    ),
    set(
        "bitbucket",
        &["BITBUCKET_BUILD_NUMBER", "BITBUCKET_COMMIT"],
        "Bitbucket Pipelines, Variables and secrets",
    ),
    set(
        "azure_pipelines",
        &["TF_BUILD"],
        "Azure Pipelines, Predefined variables",
    ),
    set(
        "codebuild",
        &[
            "CODEBUILD_BUILD_ID",
            "CODEBUILD_BUILD_ARN",
            "CODEBUILD_BATCH_BUILD_IDENTIFIER",
        ],
        "AWS CodeBuild, Environment variables in build environments",
    ),
    set(
        "bamboo",
        &["bamboo.buildKey", "bamboo_buildKey"],
        "Bamboo, Bamboo variables",
    ),
    set("appveyor", &["APPVEYOR"], "AppVeyor, Environment variables"),
    set("drone", &["DRONE"], "Drone, Environment reference"),
    is(
        "woodpecker",
        "CI",
        "woodpecker",
        "Woodpecker CI, Environment variables",
    ),
    set("cirrus", &["CIRRUS_CI"], "Cirrus CI, Environment variables"),
    set("codefresh", &["CF_BUILD_ID"], "Codefresh, Variables in pipelines"),
    set("codemagic", &["CM_BUILD_ID"], "Codemagic, Environment variables"),
    set(
        "bitrise",
        &["BITRISE_IO"],
        "Bitrise, Available environment variables",
    ),
    set("buddy", &["BUDDY_WORKSPACE_ID"], "Buddy, Environment variables"),
    set("gocd", &["GO_PIPELINE_LABEL"], "GoCD, Environment variables"),
    set(
        "google_cloud_build",
        &["BUILDER_OUTPUT"],
        "Google Cloud Build, Build steps",
    ),
    set(
        "harness",
        &["HARNESS_BUILD_ID"],
        "Harness CI, Environment variables",
    ),
    set("netlify", &["NETLIFY"], "Netlify, Build environment variables"),
    set("prow", &["PROW_JOB_ID"], "Prow, Job environment variables"),
    set(
        "screwdriver",
        &["SCREWDRIVER"],
        "Screwdriver, Environment variables",
    ),
    set("semaphore", &["SEMAPHORE"], "Semaphore, Environment variables"),
    is(
        "sourcehut",
        "CI_NAME",
        "sourcehut",
        "builds.sr.ht, Build environment",
    ),
    is(
        "codeship",
        "CI_NAME",
        "codeship",
        "CodeShip, Default environment variables",
    ),
    set(
        "taskcluster",
        &["TASKCLUSTER_ROOT_URL"],
        "Taskcluster, Environment variables of docker-worker",
    ),
    set("vela", &["VELA"], "Vela, Environment variables"),
    set(
        "vercel",
        &["NOW_BUILDER"],
        "Vercel, System environment variables, at build",
    ),
    set(
        "xcode_cloud",
        &["CI_XCODE_CLOUD", "CI_XCODE_PROJECT"],
        "Apple, Xcode Cloud environment variables",
    ),
];

/// What says that it is some CI, where none of [`CI`] fits; its name is then [`SOME_CI_NAME`].
pub const SOME_CI: Rule = set(
    SOME_CI_NAME,
    &["CI", "CONTINUOUS_INTEGRATION", "BUILD_NUMBER", "BUILD_ID"],
    "what the vendors have in common; watson/ci-info's generic variables; dlt",
);

/// The name of a CI without one.
pub const SOME_CI_NAME: &str = "unknown";

/// Where a process runs: containers, platforms, notebooks, orchestrators, coding agents. Each that fits, once, in this
/// order.
pub const EXECUTION: &[Rule] = &[
    there("docker", "/.dockerenv", "made by dockerd's init layer; dlt"),
    there("podman", "/run/.containerenv", "podman-run(1); containers-common"),
    is(
        "podman",
        "container",
        "podman",
        "systemd, The Container Interface: $container",
    ),
    is(
        "lxc",
        "container",
        "lxc",
        "systemd, The Container Interface: $container",
    ),
    is(
        "systemd_nspawn",
        "container",
        "systemd-nspawn",
        "systemd, The Container Interface: $container",
    ),
    there("flatpak", "/.flatpak-info", "Flatpak, Sandbox permissions"),
    set("snap", &["SNAP_NAME"], "Snapcraft, Environment variables"),
    set(
        "kubernetes",
        &[
            "KUBERNETES_SERVICE_HOST",
            "KUBE_NODE_NAME",
            "KUBE_POD_NAME",
            "KUBE_POD_NAMESPACE",
        ],
        "Kubernetes, Accessing the API from a Pod; dlt",
    ),
    set(
        "aws_ecs",
        &["ECS_CONTAINER_METADATA_URI_V4", "ECS_CONTAINER_METADATA_URI"],
        "Amazon ECS, Task metadata endpoint",
    ),
    set(
        "wsl",
        &["WSL_DISTRO_NAME"],
        "Microsoft, Working across file systems: WSL",
    ),
    set(
        "codespaces",
        &["CODESPACES"],
        "GitHub, Default environment variables for your codespace; dlt",
    ),
    set(
        "gitpod",
        &["GITPOD_WORKSPACE_ID"],
        "Gitpod, Environment variables",
    ),
    set(
        "devcontainer",
        &["REMOTE_CONTAINERS"],
        "Visual Studio Code, Dev Containers",
    ),
    set(
        "replit",
        &["REPL_ID"],
        "Replit, Secrets and environment variables",
    ),
    set(
        "github_actions",
        &["GITHUB_ACTIONS"],
        "GitHub, Variables reference; dlt",
    ),
    set(
        "notebook",
        &["JPY_PARENT_PID"],
        "jupyter_client: set for every kernel",
    ),
    set(
        "colab",
        &["COLAB_RELEASE_TAG"],
        "Google Colaboratory: set in its images; dlt",
    ),
    set("kaggle", &["KAGGLE_KERNEL_RUN_TYPE"], "Kaggle: set in its images"),
    set(
        "sagemaker",
        &["SM_TRAINING_ENV", "SAGEMAKER_APP_TYPE_LOWERCASE"],
        "Amazon SageMaker training toolkit; Studio",
    ),
    set(
        "airflow",
        &["AIRFLOW_CTX_TASK_ID", "AIRFLOW_CTX_DAG_ID"],
        "Apache Airflow, Operators: context as variables; dlt",
    ),
    set(
        "dagster",
        &["DAGSTER_RUN_JOB_NAME"],
        "Dagster, Environment variables set in runs",
    ),
    set(
        "prefect",
        &["PREFECT__FLOW_RUN_ID"],
        "Prefect: set by its workers for a flow's run",
    ),
    set(
        "databricks",
        &["DATABRICKS_RUNTIME_VERSION"],
        "Databricks Runtime, Environment variables",
    ),
    set(
        "aws_lambda",
        &["AWS_LAMBDA_FUNCTION_NAME"],
        "AWS Lambda, Defined runtime environment variables; dlt",
    ),
    set(
        "gcp_cloud_function",
        &["FUNCTION_NAME", "FUNCTION_TARGET"],
        "Google Cloud Functions, Environment variables; dlt",
    ),
    set(
        "cloud_run",
        &["K_SERVICE", "CLOUD_RUN_JOB"],
        "Google Cloud Run, Container runtime contract",
    ),
    set(
        "azure_functions",
        &["FUNCTIONS_WORKER_RUNTIME"],
        "Azure Functions, App settings reference",
    ),
    set("heroku", &["DYNO"], "Heroku, Dynos: local environment variables"),
    set(
        "fly",
        &["FLY_APP_NAME"],
        "Fly.io, The machine runtime environment",
    ),
    set(
        "streamlit",
        &["STREAMLIT_SERVER_PORT"],
        "Streamlit, config.toml as variables; dlt",
    ),
    set(
        "claude_code",
        &["CLAUDECODE"],
        "Claude Code, Environment variables; dlt",
    ),
    Rule {
        word: "claude_code_cli",
        sign: Sign::SetAndIs("CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "cli"),
        source: "Claude Code; dlt",
    },
    set("cursor", &["CURSOR_AGENT"], "Cursor, Agent: terminal; dlt"),
    set(
        "codex",
        &["CODEX_CI", "CODEX_THREAD_ID", "CODEX_SANDBOX"],
        "OpenAI Codex: set for its commands; dlt",
    ),
    set("gemini_cli", &["GEMINI_CLI"], "Gemini CLI, Shell tool"),
    set("opencode", &["OPENCODE"], "opencode: set for its commands"),
    set("cline", &["CLINE_ACTIVE"], "Cline: set in its terminals"),
    set("goose", &["GOOSE_TERMINAL"], "Goose, Environment variables"),
    set("augment", &["AUGMENT_AGENT"], "Augment: set for its commands"),
    set("amp", &["AMP_CURRENT_THREAD_ID"], "Amp: set for its commands"),
    set(
        "ai_agent",
        &["AI_AGENT"],
        "vercel/detect-agent: the variable that any agent may set",
    ),
];

/// In a virtual environment of Python (PEP 405; virtualenv's activate script).
pub const VENV: &[&str] = &["VIRTUAL_ENV"];

/// In an environment of conda (conda, Managing environments; Evidently).
pub const CONDA: &[&str] = &["CONDA_DEFAULT_ENV", "CONDA_PREFIX"];
