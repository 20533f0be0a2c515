//! The outer doors of telemetryd, tried with real processes.
//!
//! This library is empty, since a package needs one: the tests are the directories beside it (`outer/`, and `house/`,
//! in which the house inspects itself), what they are fed is in `vectors/` and `fixtures/`, and what they are built
//! from is in `telemetry-testkit`.
