//! No order of operations delivers an event whose decision was no at either check: tools write, people change their minds
//! by every road, batches are claimed and sent slowly, the daemon crashes and is started again; and a model of what may
//! arrive judges what did (I3).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};
use telemetry_testkit::sink::{Script, Step};
use telemetry_testkit::{DEADLINE, eventually};

use crate::stage::{Stage, TOLD, TOOL, ask, books_balance, id};

const TOOLS: [&str; 2] = [TOOL, "other"];

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

struct Model {
    stage: Stage,
    fates: BTreeMap<String, (usize, Fate)>,
    denied: BTreeMap<usize, BTreeSet<&'static str>>,
    next: u64,
}

impl Model {
    fn new() -> Self {
        let mut stage = Stage::new(Script::new(), &format!("{TOLD}timeout = \"60s\"\n"));
        // After a crash a batch may come twice; that is not what is judged here.
        stage.endpoint.expect_duplicates();
        stage.endpoint.expect_crashes();
        Self {
            stage,
            fates: BTreeMap::new(),
            denied: BTreeMap::new(),
            next: 0,
        }
    }

    fn is_denied(&self, tool: usize) -> bool {
        self.denied.get(&tool).is_some_and(|roads| !roads.is_empty())
    }

    fn append(&mut self, tool: usize) {
        self.next += 1;
        let id = id(self.next);
        let answer = ask(
            &self.stage.daemon,
            &json!({"tool": TOOLS[tool], "event": "ran", "id": id}),
        );
        let expected = if self.is_denied(tool) {
            "declined"
        } else {
            "queued"
        };
        assert_eq!(answer["status"], expected, "{answer}");
        let fate = if self.is_denied(tool) {
            Fate::Declined
        } else {
            Fate::Owed
        };
        self.fates.insert(id, (tool, fate));
    }

    /// A road that leads to a no, or back.
    fn road(&mut self, tool: usize, road: &'static str, deny: bool) {
        let home = &self.stage.home;
        match road {
            "command" => {
                let action = if deny { "deny" } else { "reset" };
                let request = json!({"op": "consent", "action": action, "tool": TOOLS[tool]});
                assert_eq!(ask(&self.stage.daemon, &request)["ok"], true);
            }
            "opt-out.d" => {
                let file = home.machine_dir().join("opt-out.d").join(TOOLS[tool]);
                match deny {
                    true => home.write(file, ""),
                    false => drop(fs::remove_file(file)),
                }
            }
            _ => {
                // Both tools at once.
                let file = home.machine_dir().join("opt-out");
                match deny {
                    true => home.write(file, ""),
                    false => drop(fs::remove_file(file)),
                }
            }
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
            let name = TOOLS[*tool];
            let told = json!({"tool": name, "event": "probe"});
            assert_eq!(ask(&self.stage.daemon, &told)["status"], "declined");
            eventually("its rows are erased", DEADLINE, || {
                let rows = json!({"op": "queue", "action": "list", "tool": name});
                crate::stage::list(&self.stage.daemon, &rows)
                    .is_empty()
                    .then_some(())
            });
        }
        // Bytes that were under way when the request was cancelled are the endpoint's.
        let seen = self.seen();
        for (id, (tool, fate)) in &mut self.fates {
            if tools.contains(tool) && *fate == Fate::Owed {
                *fate = if seen.contains(id) {
                    Fate::Sent
                } else {
                    Fate::Withdrawn
                };
            }
        }
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
        for road in ["command", "opt-out.d", "opt-out"] {
            for tool in 0..TOOLS.len() {
                self.road(tool, road, false);
            }
        }
        ask(&self.stage.daemon, &json!({"op": "resume"}));
        assert_eq!(self.stage.flush()["left"], 0, "seed {seed}");
        let owed: Vec<&String> = self
            .fates
            .iter()
            .filter(|(_, (_, fate))| *fate == Fate::Owed)
            .map(|(id, _)| id)
            .collect();
        self.stage.endpoint.wait_for_ids(&owed);
        let arrived = self.seen();
        for (id, (tool, fate)) in &self.fates {
            let wrong = matches!(fate, Fate::Declined | Fate::Withdrawn) && arrived.contains(id);
            assert!(
                !wrong,
                "seed {seed}: {id} of {} was {fate:?} and arrived",
                TOOLS[*tool]
            );
        }
    }
}

fn play(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut model = Model::new();
    for _ in 0..30 {
        let tool = rng.usize(0..TOOLS.len());
        match rng.u8(0..20) {
            0..=8 => model.append(tool),
            9..=12 => {
                let road = *rng.choice(&["command", "opt-out.d", "opt-out"]).unwrap();
                let deny = rng.u8(0..5) < 3;
                model.road(tool, road, deny);
            }
            13..=15 => drop(ask(&model.stage.daemon, &json!({"op": "flush"}))),
            16 => model
                .stage
                .endpoint
                .play(Script::new().then(Step::hang_for_ever().times(1))),
            17 => model.stage.endpoint.play(Script::new()),
            18 => {
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
