//! What polling finds is the event that the notice told (DESIGN.md "Event identity"; OP-5, EC-2, PU-5).
//!
//! For each fact: the notice and the observation give one key and one fact (`ecpay`, `payuni`, `charge`). Then what must not
//! pass: unsigned words that add a charge, changed bytes of what is signed, and these notices at the edge's door.

use tollgate_shared::event::Event;
use tollgate_shared::provider::{
    CHARGE_BY_HAND, CHARGE_REPLY, OBSERVED_PAYMENT, OBSERVED_PERIOD, Observation, Provider, Refusal,
    Unverified, is_observed,
};

use crate::fixtures::{NOW, ecpay as ecpay_shop, ecpay_answer, payuni as payuni_shop, payuni_paid, sources};

mod charge;
mod ecpay;
mod payuni;

/// The observation as the origin's inbox reads it.
fn inbox(source: &str, observation: &Observation) -> Event {
    let event = observed(source, observation.notice, &observation.body).unwrap();
    assert_eq!(event, observation.event, "the poller and the inbox read alike");
    event
}

fn observed(source: &str, notice: &str, body: &[u8]) -> Result<Event, Refusal> {
    let unverified = Unverified {
        notice,
        headers: &[],
        body,
        received_at: NOW,
    };
    sources().read_observed(&source.parse().unwrap(), &unverified)
}

fn assert_same(notice: &Event, observation: &Event) {
    assert_eq!(notice.key, observation.key);
    assert_eq!(notice.fact, observation.fact);
    assert_eq!(
        (&notice.order, &notice.merchant, notice.test, notice.occurred_at),
        (
            &observation.order,
            &observation.merchant,
            observation.test,
            observation.occurred_at
        )
    );
}

fn keys(observations: &[Observation]) -> Vec<String> {
    let key = |observation: &Observation| {
        let key = observation.event.key.as_str();
        key.strip_prefix("ecpay:3002607:")
            .or_else(|| key.strip_prefix("payuni:KAT0001:"))
            .unwrap()
            .to_owned()
    };
    observations.iter().map(key).collect()
}

#[test]
fn ed_1_the_edge_takes_no_observation() {
    let trade = ecpay_answer(&ecpay::trade_info(2));
    let bodies = [
        ("ecpay", OBSERVED_PAYMENT, trade),
        (
            "ecpay",
            OBSERVED_PERIOD,
            ecpay::periods(2, &[ecpay::first(), ecpay::second()])
                .told
                .remove(1)
                .body,
        ),
        ("payuni", OBSERVED_PAYMENT, payuni::trade_rows(&[payuni_paid()])),
        (
            "payuni",
            OBSERVED_PERIOD,
            payuni::schedule(&[(2, "17", "000000", "授權完成")]),
        ),
        ("payuni", CHARGE_REPLY, charge::charge_reply(&payuni_paid())),
        ("payuni", CHARGE_BY_HAND, charge::charge_reply(&payuni_paid())),
    ];
    for (source, notice, body) in &bodies {
        assert!(is_observed(notice));
        assert!(observed(source, notice, body).is_ok(), "{source} {notice}");
        let delivery = Unverified {
            notice,
            headers: &[],
            body,
            received_at: NOW,
        };
        let refused = sources().read(&source.parse().unwrap(), &delivery);
        assert_eq!(refused, Err(Refusal::UnknownNotice), "{source} {notice}");
    }
    for notice in ecpay_shop().notices().iter().chain(payuni_shop().notices()) {
        assert!(!is_observed(notice));
        assert_eq!(
            observed("ecpay", notice, &bodies[0].2),
            Err(Refusal::UnknownNotice)
        );
        assert_eq!(
            observed("payuni", notice, &bodies[2].2),
            Err(Refusal::UnknownNotice)
        );
    }
    for source in ["crm", "billing"] {
        assert_eq!(
            observed(source, OBSERVED_PAYMENT, b"{}"),
            Err(Refusal::UnknownNotice)
        );
    }
    assert_eq!(
        observed("ecpay", CHARGE_REPLY, &bodies[0].2),
        Err(Refusal::UnknownNotice)
    );
    assert_eq!(
        observed("mock", OBSERVED_PAYMENT, b"{}"),
        Err(Refusal::NotConfigured)
    );
    assert_eq!(
        observed("nobody", OBSERVED_PAYMENT, b"{}"),
        Err(Refusal::UnknownSource)
    );
}
