//! From how an exchange ended to the report: the verdict, and a line for people.

use std::borrow::Cow;
use std::time::Duration;

use uuid::Uuid;

use super::answer::Received;
use super::failure::{Failure, Stop};
use super::probe::Step;
use crate::mask;
use crate::report::{ANSWER_KEPT, Report, bounded};
use crate::types::Destination;
use crate::verdict::{Cause, Exchange, Verdict, verdict};

/// How far an exchange came: it is what a timeout leaves to be reported.
#[derive(Default)]
pub(super) struct Progress {
    /// Where it is on the way.
    pub(super) step: Step,
    /// "timed out after 30 s …"
    doing: Cow<'static, str>,
    /// The steps of the way that were passed, each with a line for people.
    pub(super) ways: Vec<(Step, String)>,
    /// The body's length, once a request was begun.
    pub(super) request_bytes: u64,
    /// What came of an answer.
    pub(super) received: Option<Received>,
}

impl Progress {
    /// What is done from now on.
    pub(super) fn begin(&mut self, step: Step, doing: impl Into<Cow<'static, str>>) {
        self.step = step;
        self.doing = doing.into();
    }

    /// What was begun is done.
    pub(super) fn passed(&mut self, detail: impl FnOnce() -> String) {
        self.ways.push((self.step, detail()));
    }

    /// The request's time is over.
    pub(super) fn timed_out(&self, after: Duration) -> Stop {
        let detail = format!("timed out after {} s {}", after.as_secs_f64(), self.doing);
        Stop::Failed(Failure {
            cause: Cause::Timeout,
            detail,
        })
    }

    /// The report. `secrets` are what was sent and may not be shown: an answer may echo them.
    pub(super) fn report<'a>(
        self,
        batch: Uuid,
        destination: &Destination,
        secrets: impl Iterator<Item = &'a String>,
        ended: Result<(), Stop>,
    ) -> Report {
        let failure = match ended {
            Ok(()) => None,
            Err(Stop::Cancelled) => {
                return Report::without_answer(Verdict::Cancelled, "the gate was closed: nothing was sent");
            }
            Err(Stop::Hold(reason, detail)) => return Report::without_answer(Verdict::Hold(reason), &detail),
            Err(Stop::TooLarge(detail)) => return Report::without_answer(Verdict::Split, &detail),
            Err(Stop::Unfit(detail)) => {
                let report = Report::without_answer(Verdict::Unfit, &detail);
                let answer = report.detail.clone().into_bytes();
                return Report { answer, ..report };
            }
            Err(Stop::Failed(failure)) => Some(failure),
        };
        let confirm = destination.confirm;
        let Some(received) = self.received else {
            let failure = failure.expect("an exchange that did not fail has an answer");
            let verdict = verdict(&Exchange::Failed(failure.cause), confirm);
            let request_bytes = self.request_bytes;
            return Report {
                request_bytes,
                ..Report::without_answer(verdict, &failure.detail)
            };
        };
        let verdict = verdict(
            &Exchange::Answered(received.facts(batch, destination.encoding)),
            confirm,
        );
        let detail = bounded(&describe(&received, verdict, failure.as_ref()));
        let mut answer = received.body;
        for secret in secrets {
            mask::erase(&mut answer, secret.as_bytes());
        }
        // After the masking, so that no secret is cut in half.
        answer.truncate(ANSWER_KEPT);
        // Bodies of up to 64 KiB would otherwise keep their room.
        answer.shrink_to_fit();
        Report {
            verdict,
            status: Some(received.status),
            detail,
            answer,
            retry_after: received.retry_after,
            request_bytes: self.request_bytes,
        }
    }
}

/// One line on an answer: its status and what follows from it, nothing of its body.
fn describe(received: &Received, verdict: Verdict, failure: Option<&Failure>) -> String {
    let status = received.status;
    let phrase = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    let answered = match phrase {
        Some(phrase) => format!("the endpoint answered {status} {phrase}"),
        None => format!("the endpoint answered {status}"),
    };
    let meaning = match (verdict, &received.location) {
        (Verdict::Captive, Some(origin)) => {
            format!(", leading to {origin}: a captive portal, or a moved endpoint")
        }
        (Verdict::Captive, None) => {
            " with a web page or a redirect: a captive portal, or a wrong url".to_owned()
        }
        (Verdict::Retry(Cause::Unconfirmed), _) => {
            " without the batch's id (confirm = \"batch_id\")".to_owned()
        }
        (Verdict::Bisect, _) if (200..300).contains(&status) => {
            " and says that it refused events of the batch".to_owned()
        }
        (Verdict::Hold(reason), _) => format!(": {}", reason.advice()),
        _ => String::new(),
    };
    let broken_off = failure
        .map(|failure| format!("; {}", failure.detail))
        .unwrap_or_default();
    format!("{answered}{meaning}{broken_off}")
}
