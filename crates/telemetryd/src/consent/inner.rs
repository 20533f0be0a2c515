//! What the room holds behind its lock: what all people share, and the people, bounded (I6).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use telemetry_policy::policy::Override;
use telemetry_policy::{Registered, own_files};

use super::PEOPLE;
use super::changes::How;
use super::manifests::{self, ManifestProblem};
use super::person::{Common, Person};
use super::stamp::{Shelf, Stamp};
use super::watcher::Watch;
use crate::config::{Checked, Places, Unregistered};

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) stamps: Vec<Stamp>,
    /// The tools' own user-wide files, in which a user's daemon finds answers too.
    pub(super) user_files: Vec<PathBuf>,
    /// The manifests that were read.
    pub(super) shelf: Shelf,
    pub(super) common: Common,
    pub(super) problems: Vec<ManifestProblem>,
    pub(super) people: BTreeMap<u32, Person>,
    /// How often somebody asked.
    pub(super) asked: u64,
    /// Over all that a look sees.
    pub(super) watch: Option<Arc<Watch>>,
    /// When an event made somebody look last, by the clock that counts suspend.
    pub(super) looked_ms: u64,
}

impl Inner {
    /// Reads the manifests anew. One with a mistake in it stays what it was before the mistake.
    pub(super) fn read_manifests(&mut self, places: &Places) {
        self.shelf = Shelf::look(places);
        let (mut manifests, problems) = manifests::read_all(&self.shelf.files);
        if problems != self.problems {
            manifests::report(&problems);
        }
        for problem in &problems {
            let tool = problem.file.file_stem().unwrap_or_default().to_string_lossy();
            if let Some(old) = self.common.manifests.get(&*tool) {
                manifests.entry(tool.into_owned()).or_insert_with(|| old.clone());
            }
        }
        self.take_manifests(manifests, problems);
    }

    pub(super) fn take_manifests(
        &mut self,
        manifests: BTreeMap<String, Registered>,
        problems: Vec<ManifestProblem>,
    ) {
        let home = self.common.home.as_deref();
        self.user_files = home.map_or_else(Vec::new, |home| own_files::user_files(&manifests, home));
        self.common.manifests = Arc::new(manifests);
        self.problems = problems;
    }

    /// What the config adds.
    pub(super) fn take_config(&mut self, checked: &Checked) {
        let overrides = checked.tools.iter().map(|(name, tool)| {
            let destination = tool.destination.as_deref().map(ToOwned::to_owned);
            let (disabled, opt_in) = (!tool.enabled, tool.opt_in);
            (
                name.clone(),
                Override {
                    destination,
                    disabled,
                    opt_in,
                    notice: tool.notice,
                    sample: tool.sample,
                    max_per_day: tool.max_per_day,
                },
            )
        });
        self.common.overrides = overrides.collect();
        let destinations = checked.destinations.values();
        let addresses = destinations.map(|d| (d.name.to_string(), d.url.clone()));
        self.common.addresses = Arc::new(addresses.collect());
        self.common.default_destination = checked.defaults.destination.to_string();
        self.common.refuse_unregistered = checked.defaults.unregistered_tools == Unregistered::Refuse;
    }

    /// What is looked at from here on is seen now, and came about in this way.
    pub(super) fn now(&mut self, at_ms: i64, how: How) {
        (self.common.at_ms, self.common.how) = (at_ms, how);
    }

    /// Makes everybody's policy anew.
    pub(super) fn renew(&mut self) {
        for person in self.people.values_mut() {
            person.renew(&self.common);
        }
    }

    /// Room for one more: who was asked about longest ago is forgotten, as far as the disk remembers.
    pub(super) fn make_room(&mut self) {
        while self.people.len() >= PEOPLE {
            let saved = self.people.iter().filter(|(_, person)| !person.unsaved());
            let Some(uid) = saved.min_by_key(|(_, person)| person.asked).map(|(uid, _)| *uid) else {
                return;
            };
            self.people.remove(&uid);
        }
    }
}
