//! DELIVERY.md, "What the answer means": a test for each row of the table. (What each row looks like on the
//! wire is in `answers.rs`.)

use telemetry_delivery::{Answer, Cause, Confirm, Exchange, HoldReason, Verdict, verdict};

fn plain(status: u16) -> Exchange {
    Exchange::Answered(Answer {
        status,
        html: false,
        echoed: false,
        complete: true,
        refused: false,
    })
}

fn of(status: u16) -> Verdict {
    verdict(&plain(status), Confirm::Status)
}

#[test]
fn any_2xx_is_delivered() {
    for status in [200, 201, 202, 204, 206, 299] {
        assert_eq!(of(status), Verdict::Delivered, "{status}");
    }
}

#[test]
fn with_confirm_batch_id_only_an_echo_is_delivered() {
    let answer = |echoed| {
        Exchange::Answered(Answer {
            status: 200,
            html: false,
            echoed,
            complete: true,
            refused: false,
        })
    };
    assert_eq!(verdict(&answer(true), Confirm::BatchId), Verdict::Delivered);
    assert_eq!(
        verdict(&answer(false), Confirm::BatchId),
        Verdict::Retry(Cause::Unconfirmed)
    );
    assert_eq!(verdict(&answer(false), Confirm::Status), Verdict::Delivered);
}

#[test]
fn a_2xx_that_breaks_off_is_tried_again() {
    let answer = Exchange::Answered(Answer {
        status: 200,
        html: false,
        echoed: true,
        complete: false,
        refused: false,
    });
    for confirm in [Confirm::Status, Confirm::BatchId] {
        assert_eq!(verdict(&answer, confirm), Verdict::Retry(Cause::Truncated));
    }
}

#[test]
fn a_2xx_that_says_that_it_refused_events_is_bisected() {
    let answer = |html, complete| {
        Exchange::Answered(Answer {
            status: 200,
            html,
            echoed: true,
            complete,
            refused: true,
        })
    };
    for confirm in [Confirm::Status, Confirm::BatchId] {
        assert_eq!(verdict(&answer(false, true), confirm), Verdict::Bisect);
        assert_eq!(verdict(&answer(true, true), confirm), Verdict::Captive);
        assert_eq!(
            verdict(&answer(false, false), confirm),
            Verdict::Retry(Cause::Truncated)
        );
    }
}

#[test]
fn a_web_page_and_a_redirect_are_a_captive_portal() {
    for complete in [true, false] {
        let page = Exchange::Answered(Answer {
            status: 200,
            html: true,
            echoed: true,
            complete,
            refused: false,
        });
        assert_eq!(verdict(&page, Confirm::Status), Verdict::Captive);
        assert_eq!(verdict(&page, Confirm::BatchId), Verdict::Captive);
    }
    for status in 300..=399 {
        assert_eq!(of(status), Verdict::Captive, "{status}");
    }
}

#[test]
fn busy_and_broken_servers_are_tried_again() {
    for status in [408, 425, 429, 500, 502, 503, 504, 505, 507, 511, 520, 599] {
        assert_eq!(of(status), Verdict::Retry(Cause::Status), "{status}");
    }
}

#[test]
fn without_an_answer_it_is_tried_again_with_its_cause() {
    for cause in [
        Cause::Dns,
        Cause::Refused,
        Cause::Reset,
        Cause::Unreachable,
        Cause::Tls,
        Cause::Timeout,
        Cause::Protocol,
        Cause::Io,
    ] {
        assert_eq!(
            verdict(&Exchange::Failed(cause), Confirm::Status),
            Verdict::Retry(cause)
        );
    }
}

#[test]
fn too_large_is_split() {
    assert_eq!(of(413), Verdict::Split);
}

#[test]
fn the_operators_faults_hold() {
    let table = [
        (401, HoldReason::Unauthorized),
        (403, HoldReason::Forbidden),
        (404, HoldReason::NotFound),
        (405, HoldReason::MethodNotAllowed),
        (407, HoldReason::ProxyAuthentication),
        (411, HoldReason::LengthRequired),
        (415, HoldReason::UnsupportedMediaType),
        (421, HoldReason::MisdirectedRequest),
        (426, HoldReason::UpgradeRequired),
        (501, HoldReason::NotImplemented),
    ];
    for (status, reason) in table {
        assert_eq!(of(status), Verdict::Hold(reason), "{status}");
        assert!(reason.advice().contains(&status.to_string()), "{reason}");
    }
}

#[test]
fn every_other_4xx_is_bisected() {
    let elsewhere = [
        401, 403, 404, 405, 407, 408, 410, 411, 413, 415, 421, 425, 426, 429,
    ];
    for status in (400..=499).filter(|status| !elsewhere.contains(status)) {
        assert_eq!(of(status), Verdict::Bisect, "{status}");
    }
}

#[test]
fn gone_is_closed() {
    assert_eq!(of(410), Verdict::Closed);
}

#[test]
fn oddities_are_tried_again() {
    for status in [100, 101, 103, 199, 600, 999] {
        assert_eq!(of(status), Verdict::Retry(Cause::Protocol), "{status}");
    }
}

#[test]
fn a_refusal_that_breaks_off_counts_by_its_status() {
    for status in [400, 401, 410, 413, 503] {
        let whole = Answer {
            status,
            html: false,
            echoed: false,
            complete: true,
            refused: false,
        };
        let broken = Answer {
            complete: false,
            ..whole
        };
        assert_eq!(
            verdict(&Exchange::Answered(broken), Confirm::Status),
            verdict(&Exchange::Answered(whole), Confirm::Status),
            "{status}"
        );
    }
}
