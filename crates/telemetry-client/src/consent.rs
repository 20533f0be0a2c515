//! What this process can see of consent: the machine's and the user's files, its own environment, the files of
//! the project, and what the tool was told (CONSENT.md, layers 1 to 5). A denial here means that no socket is
//! opened and nothing is created (I3). Reading is all that is done: the decision is the protocol crate's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use telemetry_policy::gather::{self, Found, Look};
use telemetry_policy::policy::{Parts, spoken};
use telemetry_policy::{Agreed, Manifest, OptOuts, Origin, Policy, Registered, UserConsent, own_files};
use telemetry_protocol::consent::{Decision, Fact, Layer, Verdict, decide};
use telemetry_protocol::limits::MAX_KEY;
use telemetry_protocol::place::{MACHINE_CONFIG, PACKAGE_MANIFESTS};

use crate::notice::{AGREED, NOTICED};
use crate::surroundings::Surroundings;

/// What is asked about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Question<'a> {
    /// The tool.
    pub tool: &'a str,
    /// The project's directory; `None`: the working directory.
    pub project: Option<&'a Path>,
    /// The tool's own flag, where it was given.
    pub invocation: Option<bool>,
}

/// The facts of layers 1 to 3, and where the others are.
#[derive(Clone, Debug)]
pub struct Gathered {
    policy: Policy,
    home: Option<PathBuf>,
    working: Option<PathBuf>,
}

impl Gathered {
    /// Reads the files that `surroundings` names, through `eyes`. Some system calls; nothing is kept open.
    #[must_use]
    pub fn gather(surroundings: &Surroundings, eyes: &dyn Look) -> Self {
        Self::with(surroundings, &[], eyes)
    }

    /// The same, for a tool that brings its manifests itself: each counts where no place has one for its tool,
    /// and only if the tool could register it.
    #[must_use]
    pub fn with(surroundings: &Surroundings, own: &[Manifest], eyes: &dyn Look) -> Self {
        let mut manifests = gather::manifests(&places(surroundings), eyes);
        for manifest in own.iter().filter(|manifest| manifest.may_register().is_ok()) {
            manifests
                .entry(manifest.name.clone())
                .or_insert_with(|| Registered {
                    manifest: manifest.clone(),
                    origin: Origin::Registered,
                    source: "registered".to_owned(),
                });
        }
        let mut user = match &surroundings.user {
            Some(dirs) => gather::user(&dirs.config, eyes),
            None => UserConsent::absent("consent.toml (nothing says where the home is)"),
        };
        let mut answers: BTreeMap<String, Vec<Fact>> = BTreeMap::new();
        let mut homes: Vec<PathBuf> = surroundings.home.iter().cloned().collect();
        // sudo: a denial of either user counts, whatever HOME it has left.
        if let Some(caller) = surroundings.sudo_uid {
            for uid in [caller, surroundings.uid] {
                match home_of(uid, eyes) {
                    Some(home) if homes.contains(&home) => {}
                    Some(home) => {
                        let other = gather::user(&home.join(".config/telemetryd"), eyes);
                        user.narrow(&other);
                        homes.push(home);
                    }
                    None if uid == caller => {
                        let source = format!("consent.toml of uid {uid}");
                        let why = "SUDO_UID names a user whose home /etc/passwd does not tell";
                        user.narrow(&UserConsent::unreadable(&source, why));
                    }
                    None => {}
                }
            }
        }
        for (at, home) in homes.iter().enumerate() {
            for (tool, facts) in own_files::answers(&manifests, home, eyes) {
                let counts = |fact: &Fact| at == 0 || fact.verdict == Some(Verdict::Deny);
                answers
                    .entry(tool)
                    .or_default()
                    .extend(facts.into_iter().filter(counts));
            }
        }
        let policy = Policy::new(Parts {
            machine: gather::machine(&surroundings.machine, surroundings.uid, eyes),
            variables: Arc::clone(&surroundings.variables),
            user,
            answers,
            manifests: manifests.into(),
            agreed: match &surroundings.user {
                Some(dirs) => Agreed::read(&dirs.state.join(NOTICED), &dirs.state.join(AGREED), eyes),
                None => Agreed::default(),
            },
            default_destination: "default".to_owned(),
            ..Parts::default()
        });
        Self {
            policy,
            home: surroundings.home.clone(),
            working: surroundings.working.clone(),
        }
    }

    /// What holds as far as layers 1 to 3 and the manifests say it.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The facts of layers 1 to 5, one a layer at least where something was looked for, so that an explanation
    /// can say where.
    #[must_use]
    pub fn facts(&self, question: &Question<'_>, eyes: &dyn Look) -> Vec<Fact> {
        let mut facts = self.policy.tool_with_rows(question.tool).facts;
        let none = OptOuts::default();
        let opt_outs = self
            .policy
            .manifest(question.tool)
            .map_or(&none, |r| &r.manifest.opt_outs);
        if let Some(start) = self.start(question) {
            facts.extend(own_files::project(opt_outs, &start, self.home.as_deref(), eyes));
        }
        if let Some(yes) = question.invocation {
            facts.push(Fact {
                layer: Layer::Invocation,
                verdict: Some(if yes { Verdict::Allow } else { Verdict::Deny }),
                source: "the tool's own flag".to_owned(),
                line: None,
                detail: format!("consent = {yes}"),
            });
        }
        spoken(&mut facts);
        facts
    }

    fn start(&self, question: &Question<'_>) -> Option<PathBuf> {
        match (question.project, &self.working) {
            (Some(project), Some(working)) => Some(working.join(project)),
            (Some(project), None) => Some(project.to_owned()),
            (None, working) => working.clone(),
        }
    }

    /// The names of the project that is asked about: the first is what its events say (`project`, which leaves as a
    /// keyed hash alone), the others are what they may have said. None for a tool that knows no projects.
    #[must_use]
    pub fn project_names(&self, question: &Question<'_>, eyes: &dyn Look) -> Vec<String> {
        let opt_outs = self.policy.manifest(question.tool).map(|r| &r.manifest.opt_outs);
        let (Some(opt_outs), Some(start)) = (opt_outs, self.start(question)) else {
            return Vec::new();
        };
        let root = own_files::project_root(opt_outs, &start, self.home.as_deref(), eyes);
        let mut names: Vec<String> = root
            .iter()
            .chain(root.is_some().then_some(&start))
            .map(|path| name_of(path))
            .collect();
        names.dedup();
        names
    }

    /// The first denial that this process sees: then nothing is sent, not even to the daemon. What a manifest
    /// says when nobody speaks is not among it: the daemon may know more.
    #[must_use]
    pub fn denial(&self, question: &Question<'_>, eyes: &dyn Look) -> Option<Fact> {
        self.facts(question, eyes)
            .into_iter()
            .filter(|fact| fact.verdict == Some(Verdict::Deny))
            .min_by_key(|fact| fact.layer)
    }

    /// The decision, with the manifest's default where this process knows it.
    #[must_use]
    pub fn decide(&self, question: &Question<'_>, eyes: &dyn Look) -> Decision {
        let tool = self.policy.tool_with_rows(question.tool);
        decide(&self.facts(question, eyes), tool.default, &tool.default_source)
    }
}

/// A directory as an event names its project: of a path that is too long the end, which tells most.
fn name_of(path: &Path) -> String {
    let path = path.to_string_lossy();
    let from = path.len().saturating_sub(MAX_KEY);
    let from = (from..path.len()).find(|at| path.is_char_boundary(*at));
    path.get(from.unwrap_or(0)..).unwrap_or_default().to_owned()
}

/// What is wrong with the file that should be the manifest of `tool`, each with file and line: while there is anything,
/// the tool has no manifest.
#[must_use]
pub fn mistakes(surroundings: &Surroundings, tool: &str, eyes: &dyn Look) -> Vec<String> {
    let files = places(surroundings).into_iter();
    let files = files.map(|(_, directory)| directory.join(format!("{tool}.toml")));
    let mut found = files.map(|file| (eyes.look(&file), file.display().to_string()));
    match found.find(|(found, _)| *found != Found::Absent) {
        Some((Found::File(text), file)) => {
            let mistakes = Manifest::parse(&text).err().unwrap_or_default();
            mistakes
                .iter()
                .map(|m| format!("{file}:{}: {}", m.line, m.message))
                .collect()
        }
        Some((Found::Unreadable(why), file)) => vec![format!("{file}:1: cannot be read: {why}")],
        Some((_, file)) => vec![format!("{file}:1: is a directory")],
        None => Vec::new(),
    }
}

/// The directories of manifests; the first that has a tool's counts.
fn places(surroundings: &Surroundings) -> Vec<(Origin, PathBuf)> {
    let mut places = vec![
        (Origin::Admin, Path::new(MACHINE_CONFIG).join("tools.d")),
        (Origin::Package, PathBuf::from(PACKAGE_MANIFESTS)),
    ];
    if let Some(user) = &surroundings.user {
        places.push((Origin::User, user.manifests.clone()));
        places.push((Origin::Registered, user.state.join("tools.d")));
    }
    places
}

/// The home of a user, as `/etc/passwd` has it (passwd(5): the sixth field).
fn home_of(uid: u32, eyes: &dyn Look) -> Option<PathBuf> {
    let Found::File(text) = eyes.look(Path::new("/etc/passwd")) else {
        return None;
    };
    let line = text
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&uid.to_string()))?;
    line.split(':')
        .nth(5)
        .map(PathBuf::from)
        .filter(|home| home.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::RealFiles;

    const KEDRO: &str = "name = \"kedro\"\nevents = \"any\"\nconsent = \"opt-out\"\nnotice_required = \"tool\"\n\
        opt_out_env = [\"KEDRO_DISABLE_TELEMETRY\"]\n\
        project_files = [{ path = \".telemetry\", format = \"yaml\", key = \"consent\" }]\n\
        user_files = [{ path = \"~/.kedro.toml\", format = \"toml\", key = \"telemetry\" }]\n";

    fn surroundings(home: &Path, more: &[(&str, &str)]) -> Surroundings {
        let own = ["config", "state", "machine"].map(|name| home.join(name).display().to_string());
        let mut vars = vec![
            ("TELEMETRYD_CONFIG_DIR", own[0].as_str()),
            ("TELEMETRYD_STATE_DIR", own[1].as_str()),
            ("TELEMETRYD_MACHINE_DIR", own[2].as_str()),
            ("HOME", home.to_str().unwrap()),
        ];
        vars.extend_from_slice(more);
        let uid = rustix::process::getuid().as_raw();
        let mut found = Surroundings::read(vars.into_iter().collect(), None, uid, &|_| false);
        // The developer's own machine may have opted out: that is not what is asked here.
        found.machine.retain(|directory| directory.starts_with(home));
        found
    }

    fn write(path: PathBuf, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn each_layer_can_say_no_and_the_first_is_named() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        write(at(".local/share/telemetryd/tools.d/kedro.toml"), KEDRO);
        let project = at("work/src");
        std::fs::create_dir_all(&project).unwrap();
        let denial = |variables: &[(&str, &str)], invocation| {
            let question = Question {
                tool: "kedro",
                project: Some(&project),
                invocation,
            };
            let gathered = Gathered::gather(&surroundings(home.path(), variables), &RealFiles);
            let decision = gathered.decide(&question, &RealFiles);
            let denial = gathered.denial(&question, &RealFiles).map(|fact| fact.layer);
            assert_eq!(denial.is_some(), decision.verdict == Verdict::Deny);
            denial
        };
        assert_eq!(denial(&[], None), None);
        assert_eq!(denial(&[], Some(false)), Some(Layer::Invocation));
        write(at("work/.telemetry"), "consent: \"false\"\n");
        assert_eq!(denial(&[], Some(false)), Some(Layer::Project));
        write(at(".kedro.toml"), "telemetry = false\n");
        assert_eq!(denial(&[], None), Some(Layer::User));
        write(at(".kedro.toml"), "");
        write(at("config/consent.toml"), "[tools]\nkedro = false\n");
        assert_eq!(denial(&[], None), Some(Layer::User));
        assert_eq!(
            denial(&[("KEDRO_DISABLE_TELEMETRY", "")], None),
            Some(Layer::Environment)
        );
        write(at("machine/policy.d/1.toml"), "[tools]\nallow_only = [\"dlt\"]\n");
        assert_eq!(denial(&[("DO_NOT_TRACK", "0")], None), Some(Layer::Machine));
    }

    #[test]
    fn with_sudo_a_denial_of_either_user_counts() {
        struct Sudo;
        impl Look for Sudo {
            fn look(&self, path: &Path) -> Found {
                let text = match path.to_str().unwrap() {
                    "/etc/passwd" => {
                        "root:x:0:0::/var/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n"
                    }
                    "/home/alice/.config/telemetryd/consent.toml" => "[tools]\ndlt = false\nkedro = true\n",
                    "/var/root/.config/telemetryd/consent.toml" => "[tools]\nevidently = false\n",
                    _ => return Found::Absent,
                };
                Found::File(text.to_owned())
            }
            fn owner(&self, _: &Path) -> Option<u32> {
                None
            }
            fn device(&self, _: &Path) -> Option<u64> {
                None
            }
        }
        let verdict = |tool: &str, home: &str, uid: &str| {
            let vars = [("HOME", home), ("SUDO_UID", uid)].into_iter().collect();
            let surroundings = Surroundings::read(vars, None, 0, &|_| false);
            let question = Question {
                tool,
                ..Question::default()
            };
            Gathered::gather(&surroundings, &Sudo)
                .denial(&question, &Sudo)
                .map(|fact| fact.source)
        };
        let alices = Some("/home/alice/.config/telemetryd/consent.toml".to_owned());
        let roots = Some("/var/root/.config/telemetryd/consent.toml".to_owned());
        for home in ["/var/root", "/home/alice"] {
            assert_eq!(verdict("dlt", home, "1000"), alices);
            assert_eq!(verdict("evidently", home, "1000"), roots);
            assert_eq!(verdict("kedro", home, "1000"), None);
        }
        assert!(
            verdict("kedro", "/var/root", "4242").is_some(),
            "a home that nobody can tell"
        );
    }

    #[test]
    fn what_a_tool_brings_counts_where_no_place_has_it() {
        let home = tempfile::tempdir().unwrap();
        let surroundings = surroundings(home.path(), &[("KEDRO_DISABLE_TELEMETRY", "1")]);
        let question = Question {
            tool: "kedro",
            ..Question::default()
        };
        let denied = |own: &[Manifest]| {
            let gathered = Gathered::with(&surroundings, own, &RealFiles);
            gathered.denial(&question, &RealFiles).is_some()
        };
        assert!(denied(&[Manifest::parse(KEDRO).unwrap()]));
        assert!(!denied(&[]));
    }

    #[test]
    fn asking_creates_nothing() {
        let home = tempfile::tempdir().unwrap();
        let gathered = Gathered::gather(&surroundings(home.path(), &[]), &RealFiles);
        let question = Question {
            tool: "kedro",
            ..Question::default()
        };
        assert_eq!(gathered.decide(&question, &RealFiles).by, Layer::Default);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
