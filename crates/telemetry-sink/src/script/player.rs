//! Walks a script for every request and remembers what was used up.

use super::{Action, Deduplicate, Echo, Facts, Script};

/// A script that is being played.
#[derive(Debug, Default)]
pub(crate) struct Player {
    script: Script,
    /// How often each step acted.
    acted: Vec<u64>,
}

/// What a script said about one request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Play {
    pub(crate) action: Action,
    pub(crate) store: bool,
}

impl Player {
    pub(crate) fn new(script: Script) -> Self {
        let acted = vec![0; script.steps.len()];
        Self { script, acted }
    }

    /// What is not stored twice.
    pub(crate) fn deduplicate(&self) -> Deduplicate {
        self.script.deduplicate
    }

    /// Where good answers name the batch's id.
    pub(crate) fn echo(&self) -> Echo {
        self.script.echo
    }

    /// Whether events have to be parsed to decide.
    pub(crate) fn reads_events(&self) -> bool {
        self.script.reads_events()
    }

    /// Decides by the head alone, about the actions that do not wait for the body.
    pub(crate) fn early(&mut self, facts: &Facts<'_>) -> Option<Play> {
        self.walk(facts, true)
    }

    /// Decides about the whole request.
    pub(crate) fn late(&mut self, facts: &Facts<'_>) -> Option<Play> {
        self.walk(facts, false)
    }

    fn walk(&mut self, facts: &Facts<'_>, early: bool) -> Option<Play> {
        for (step, acted) in self.script.steps.iter().zip(&mut self.acted) {
            let left = step.times.is_none_or(|times| *acted < times);
            if left && step.action.is_early() == early && step.when.holds(facts) {
                *acted += 1;
                let store = step.store.unwrap_or_else(|| step.action.stores());
                return Some(Play {
                    action: step.action.clone(),
                    store,
                });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::script::Step;

    fn facts(number: u64) -> Facts<'static> {
        Facts {
            number,
            elapsed: Duration::ZERO,
            path: "/",
            headers: &[],
            body: None,
        }
    }

    fn names(script: Script, requests: u64) -> Vec<String> {
        let mut player = Player::new(script);
        (1..=requests)
            .map(|number| match player.late(&facts(number)) {
                Some(Play {
                    action: Action::Reply(reply),
                    ..
                }) => reply.status.to_string(),
                Some(play) => play.action.name().to_owned(),
                None => "accept".to_owned(),
            })
            .collect()
    }

    #[test]
    fn steps_are_used_up_in_order_and_then_all_is_well() {
        let script = Script::new()
            .then(Step::status(503).times(2))
            .then(Step::close().times(1));
        assert_eq!(names(script, 5), ["503", "503", "close", "accept", "accept"]);
    }

    #[test]
    fn a_step_whose_turn_has_not_come_lets_the_next_act() {
        let script = Script::new()
            .then(Step::status(429).nth(2))
            .then(Step::status(500).every(3));
        assert_eq!(
            names(script, 6),
            ["accept", "429", "500", "accept", "accept", "500"]
        );
    }

    #[test]
    fn an_early_reset_is_decided_by_the_head_alone() {
        let mut player = Player::new(
            Script::new()
                .then(Step::status(503))
                .then(Step::reset_after(10).times(1)),
        );
        assert_eq!(
            player.early(&facts(1)).map(|play| play.action.name()),
            Some("reset")
        );
        assert_eq!(player.early(&facts(2)), None);
        assert_eq!(
            player.late(&facts(2)).map(|play| play.action.name()),
            Some("status")
        );
    }

    #[test]
    fn only_good_answers_store_unless_the_step_says_so() {
        let stored = |step: Step| {
            Player::new(Script::new().then(step))
                .late(&facts(1))
                .map(|play| play.store)
        };
        assert_eq!(stored(Step::status(503)), Some(false));
        assert_eq!(stored(Step::status(503).store(true)), Some(true));
        assert_eq!(stored(Step::slow(10)), Some(true));
        assert_eq!(stored(Step::captive()), Some(false));
        assert_eq!(stored(Step::hang(Duration::from_secs(1))), Some(true));
        assert_eq!(stored(Step::hang_for_ever()), Some(false));
    }
}
