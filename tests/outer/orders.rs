//! No order of operations delivers an event whose decision was no at either check: tools write, people change their minds
//! by every road (a command, the admin's files, a manifest that goes or lets less through, a project), batches are claimed
//! and sent slowly, the daemon crashes and is started again; and a model of what may arrive judges what did (I3).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};
use telemetry_testkit::sink::{Script, Step};
use telemetry_testkit::{DEADLINE, eventually};

use crate::stage::{Stage, TOLD, TOOL, ask, books_balance, id};

const TOOLS: [&str; 2] = [TOOL, "other"];

const PROJECTS: [&str; 2] = ["one", "two"];

/// Roads to a no, each of which leads back too.
const ROADS: [&str; 6] = [
    "command",
    "opt-out.d",
    "opt-out",
    "policy.d",
    "allow_only",
    "manifest",
];

/// Properties that a manifest lists at first; each time that it narrows it is one fewer.
const PROPERTIES: usize = 12;

/// A manifest of that tool after so many narrowings.
fn manifest(tool: &str, narrowed: usize) -> String {
    let listed = (narrowed..PROPERTIES).map(|n| format!("properties.p{n} = \"integer\"\n"));
    let listed: String = listed.collect();
    format!("name = \"{tool}\"\nconsent = \"opt-out\"\n[events.ran]\n{listed}")
}

/// What the model knows of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was declined: it may never arrive.
    Declined,
    /// It was taken, and nobody has withdrawn since: it arrives.
    Owed,
    /// It was taken and withdrawn before it had arrived: it may not arrive from then on.
    Withdrawn,
    /// It had arrived when it was withdrawn, or it was on its way in a request that a crash has cut: either is right.
    Sent,
}

/// An event: whose, of which project, and what is known of it.
#[derive(Clone, Copy, Debug)]
struct Event {
    tool: usize,
    project: usize,
    fate: Fate,
}

struct Model {
    stage: Stage,
    events: BTreeMap<String, Event>,
    denied: BTreeMap<usize, BTreeSet<&'static str>>,
    narrowed: [usize; TOOLS.len()],
    next: u64,
}

impl Model {
    fn new() -> Self {
        let mut stage = Stage::new(Script::new(), &format!("{TOLD}timeout = \"60s\"\n"));
        // After a crash a batch may come twice; that is not what is judged here.
        stage.endpoint.expect_duplicates();
        stage.endpoint.expect_crashes();
        for tool in TOOLS {
            stage.home.write_manifest(tool, &manifest(tool, 0));
        }
        Self {
            stage,
            events: BTreeMap::new(),
            denied: BTreeMap::new(),
            narrowed: [0; TOOLS.len()],
            next: 0,
        }
    }

    fn is_denied(&self, tool: usize) -> bool {
        self.denied.get(&tool).is_some_and(|roads| !roads.is_empty())
    }

    /// An event; `claimed`: its client met a file of the project that says no.
    fn append(&mut self, tool: usize, project: usize, claimed: bool) {
        self.next += 1;
        let id = id(self.next);
        let mut event = json!({"tool": TOOLS[tool], "event": "ran", "id": id, "project": PROJECTS[project]});
        if claimed {
            event["consent"] = json!({"layer": "project", "verdict": "deny", "source": "./.telemetry"});
        }
        let answer = ask(&self.stage.daemon, &event);
        let (expected, fate) = match claimed || self.is_denied(tool) {
            true => ("declined", Fate::Declined),
            false => ("queued", Fate::Owed),
        };
        assert_eq!(answer["status"], expected, "{answer}");
        self.events.insert(id, Event { tool, project, fate });
    }

    /// A road that leads to a no, or back.
    fn road(&mut self, tool: usize, road: &'static str, deny: bool) {
        let home = &self.stage.home;
        let file = |file: std::path::PathBuf, text: &str| match deny {
            true => home.write(file, text),
            false => drop(fs::remove_file(file)),
        };
        let (machine, name) = (home.machine_dir(), TOOLS[tool]);
        match road {
            "command" => {
                let action = if deny { "deny" } else { "reset" };
                let request = json!({"op": "consent", "action": action, "tool": TOOLS[tool]});
                assert_eq!(ask(&self.stage.daemon, &request)["ok"], true);
            }
            "opt-out.d" => file(machine.join("opt-out.d").join(name), ""),
            "policy.d" => {
                let policy = machine.join(format!("policy.d/{name}.toml"));
                file(policy, &format!("[tools]\ndeny = [\"{name}\"]\n"));
            }
            "allow_only" => {
                let policy = machine.join(format!("policy.d/without-{name}.toml"));
                let other = TOOLS[1 - tool];
                file(policy, &format!("[tools]\nallow_only = [\"{other}\"]\n"));
            }
            "manifest" => match deny {
                true => drop(fs::remove_file(home.tools_dir().join(format!("{name}.toml")))),
                false => home.write_manifest(name, &manifest(name, self.narrowed[tool])),
            },
            // Both tools at once.
            _ => file(machine.join("opt-out"), ""),
        }
        let tools = if road == "opt-out" { vec![0, 1] } else { vec![tool] };
        for tool in &tools {
            let roads = self.denied.entry(*tool).or_default();
            if deny {
                roads.insert(road)
            } else {
                roads.remove(road)
            };
        }
        if deny {
            self.settle_withdrawal(&tools);
        }
    }

    /// The withdrawal holds from when the daemon has answered somebody after it: what had not arrived by then must not.
    fn settle_withdrawal(&mut self, tools: &[usize]) {
        for tool in tools {
            let told = json!({"tool": TOOLS[*tool], "event": "probe"});
            assert_eq!(ask(&self.stage.daemon, &told)["status"], "declined");
            self.wait_until_erased(*tool);
        }
        self.withdraw(|event| tools.contains(&event.tool));
    }

    fn wait_until_erased(&self, tool: usize) {
        eventually("its rows are erased", DEADLINE, || {
            let rows = json!({"op": "queue", "action": "list", "tool": TOOLS[tool]});
            crate::stage::list(&self.stage.daemon, &rows)
                .is_empty()
                .then_some(())
        });
    }

    /// Bytes that were under way when the request was cancelled are the endpoint's.
    fn withdraw(&mut self, which: impl Fn(&Event) -> bool) {
        let seen = self.seen();
        for (id, event) in &mut self.events {
            if event.fate == Fate::Owed && which(event) {
                event.fate = match seen.contains(id) {
                    true => Fate::Sent,
                    false => Fate::Withdrawn,
                };
            }
        }
    }

    /// The tool's manifest lets less through: what was taken under the wider one is withdrawn, and it stays on.
    fn narrow(&mut self, tool: usize) {
        let name = TOOLS[tool];
        if self.narrowed[tool] + 1 == PROPERTIES {
            return;
        }
        self.narrowed[tool] += 1;
        if self
            .denied
            .get(&tool)
            .is_some_and(|roads| roads.contains("manifest"))
        {
            return;
        }
        self.stage
            .home
            .write_manifest(name, &manifest(name, self.narrowed[tool]));
        ask(
            &self.stage.daemon,
            &json!({"op": "tools", "action": "show", "tool": name}),
        );
        // Who had no rows so far agreed to nothing wider.
        if self
            .events
            .values()
            .any(|event| event.tool == tool && event.fate != Fate::Declined)
        {
            self.wait_until_erased(tool);
            self.withdraw(|event| event.tool == tool);
        }
    }

    /// A client meets the denial of a project: its rows go, and nothing else changes.
    fn project_denies(&mut self, tool: usize, project: usize) {
        let request = json!({
            "op": "consent", "action": "deny", "tool": TOOLS[tool], "project": PROJECTS[project], "source": "./.telemetry",
        });
        let answer = ask(&self.stage.daemon, &request);
        assert_eq!(answer["ok"], true, "{answer}");
        self.withdraw(|event| (event.tool, event.project) == (tool, project));
    }

    /// Ids that the endpoint has read, whatever it answered.
    fn seen(&self) -> BTreeSet<String> {
        let mut seen = self.stage.endpoint.ids();
        for request in self.stage.endpoint.requests() {
            let events = request.events();
            seen.extend(events.iter().filter_map(|e| e["id"].as_str().map(str::to_owned)));
        }
        seen
    }

    fn crash(&mut self) {
        self.stage.daemon.kill9();
        self.stage.daemon.restart();
        books_balance(&crate::stage::status(&self.stage.daemon));
    }

    /// The end: everybody may send, and what is owed arrives; nothing else ever has.
    fn judge(mut self, seed: u64) {
        self.stage.endpoint.play(Script::new());
        // A request that hangs would be waited for.
        self.crash();
        for road in ROADS {
            for tool in 0..TOOLS.len() {
                self.road(tool, road, false);
            }
        }
        ask(&self.stage.daemon, &json!({"op": "resume"}));
        assert_eq!(self.stage.flush()["left"], 0, "seed {seed}");
        let owed = self.events.iter().filter(|(_, event)| event.fate == Fate::Owed);
        self.stage.endpoint.wait_for_ids(owed.map(|(id, _)| id));
        let arrived = self.seen();
        for (id, event) in &self.events {
            let wrong = matches!(event.fate, Fate::Declined | Fate::Withdrawn) && arrived.contains(id);
            assert!(
                !wrong,
                "seed {seed}: {id} arrived: {event:?} of {}",
                TOOLS[event.tool]
            );
        }
    }
}

fn play(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut model = Model::new();
    for _ in 0..40 {
        let (tool, project) = (rng.usize(0..TOOLS.len()), rng.usize(0..PROJECTS.len()));
        match rng.u8(0..24) {
            0..=9 => model.append(tool, project, rng.u8(0..10) == 0),
            10..=13 => {
                let road = *rng.choice(&ROADS).unwrap();
                let deny = rng.u8(0..5) < 3;
                model.road(tool, road, deny);
            }
            14 => model.narrow(tool),
            15..=16 => model.project_denies(tool, project),
            17..=19 => drop(ask(&model.stage.daemon, &json!({"op": "flush"}))),
            20 => model
                .stage
                .endpoint
                .play(Script::new().then(Step::hang_for_ever().times(1))),
            21 => model.stage.endpoint.play(Script::new()),
            22 => {
                let flush = json!({"op": "flush", "wait": true, "timeout_ms": 300});
                let _: Value = ask(&model.stage.daemon, &flush);
            }
            _ => model.crash(),
        }
    }
    model.judge(seed);
}

#[test]
fn whatever_the_order_no_event_arrives_whose_decision_was_no_at_either_check() {
    for seed in 0..24 {
        play(seed);
    }
}
