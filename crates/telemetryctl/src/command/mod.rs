//! The commands, one file each: its options, what it asks, what it shows.

pub(crate) mod send;

pub(crate) mod flush;
pub(crate) mod pause;
pub(crate) mod reload;
pub(crate) mod resume;
pub(crate) mod status;
pub(crate) mod stop;

pub(crate) mod audit;
pub(crate) mod consent;
pub(crate) mod opt;

pub(crate) mod export;
pub(crate) mod forget;
pub(crate) mod identity;

pub(crate) mod queue;
pub(crate) mod sent;
pub(crate) mod tail;
pub(crate) mod tools;

pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod metrics;
pub(crate) mod service;

pub(crate) mod demo;
pub(crate) mod sink;

pub(crate) mod completions;
pub(crate) mod man;
