//! From the daemon to the endpoint: what is sent, what an answer means, when it is tried again (DELIVERY.md).

mod ahead;
mod bisect;
mod main_way;
mod split;
mod vendors;
mod verdicts;
mod waits;
