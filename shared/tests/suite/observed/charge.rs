//! What PAYUNi answers to a charge of a stored card, and what such an answer does not say.

use tollgate_shared::event::{Event, Fact};
use tollgate_shared::provider::payuni::credit::StoredCharge;
use tollgate_shared::provider::payuni::observe::{self as payuni_observe, ByHand, ChargeReply};
use tollgate_shared::provider::payuni::reply::ReplyError;
use tollgate_shared::provider::{CHARGE_BY_HAND, CHARGE_REPLY, Refusal};
use tollgate_shared::time::Timestamp;

use super::payuni::changed;
use super::{assert_same, inbox, observed};
use crate::calls::twd;
use crate::fixtures::{Pairs, as_strs, payuni, payuni_body, payuni_paid, payuni_reply, read};

pub(super) fn charge_reply(inner: &Pairs) -> Vec<u8> {
    payuni_reply(&tollgate_shared::form::encode(as_strs(inner)), None).into_bytes()
}

fn charge_of(number: &str) -> StoredCharge {
    StoredCharge {
        number: number.parse().unwrap(),
        money: twd(299),
        description: "x".into(),
        notify_url: None,
    }
}

fn told(reply: ChargeReply) -> Event {
    let ChargeReply::Told(observation) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(observation.notice, CHARGE_REPLY);
    inbox("payuni", &observation)
}

#[test]
fn pu_6_a_charge_of_a_stored_card_is_told_by_its_reply() {
    let reply = |changes: &[(&str, &str)]| {
        payuni_observe::charge(
            &payuni(),
            &charge_of("ORD_20260901-7"),
            &charge_reply(&changed(changes)),
        )
        .unwrap()
    };
    let paid = told(reply(&[]));
    assert_same(
        &read(&payuni(), "payment", &payuni_body(&payuni_paid())).unwrap(),
        &paid,
    );
    assert!(matches!(paid.fact, Fact::Paid(_)));
    let declined = told(reply(&[
        ("Status", "CREDIT04012"),
        ("TradeStatus", "2"),
        ("ResCode", "51"),
    ]));
    let Fact::PaymentFailed(decline) = declined.fact else {
        panic!()
    };
    assert_eq!(decline.bank_code.as_deref(), Some("51"));
    assert!(matches!(
        told(reply(&[("Status", "UNKNOWN")])).fact,
        Fact::PaymentHeld(_)
    ));
    assert!(
        matches!(told(reply(&[("TradeStatus", "")])).fact, Fact::PaymentHeld(_)),
        "no state, no money"
    );
}

/// What an operator found is read like a reply, and is another event than the reply of the same number, which may be disputed.
#[test]
fn ec_2_what_an_operator_found_has_a_key_of_its_own() {
    let (shop, charge) = (payuni(), charge_of("ORD_20260901-7"));
    let at = Timestamp::from_unix_seconds(1_767_225_600);
    let number = "1761".parse().unwrap();
    let paid = payuni_observe::by_hand(&shop, &charge, ByHand::Paid(&number, at)).unwrap();
    let event = inbox("payuni", &paid);
    assert_eq!(
        event.key.as_str(),
        "payuni:KAT0001:charge-by-hand:ORD_20260901-7:paid:1761"
    );
    assert_eq!(event.occurred_at, Some(at));
    let Fact::Paid(told) = event.fact else { panic!() };
    assert_eq!((told.money, told.provider_payment_id), (twd(299), number));
    let failed = payuni_observe::by_hand(&shop, &charge, ByHand::Failed).unwrap();
    let event = inbox("payuni", &failed);
    assert_eq!(
        event.key.as_str(),
        "payuni:KAT0001:charge-by-hand:ORD_20260901-7:failed"
    );
    assert!(matches!(event.fact, Fact::PaymentFailed(_)));
    for undecided in [("Status", "UNKNOWN"), ("TradeStatus", "0")] {
        let body = charge_reply(&changed(&[undecided]));
        assert!(
            observed("payuni", CHARGE_BY_HAND, &body).is_err(),
            "{undecided:?}"
        );
    }
}

/// A retry's answer must not be taken for the charge's: the first one may have taken the money (reference A.12, lessons).
#[test]
fn pu_6_a_repeated_charge_is_no_refusal() {
    for code in ["UPP01007", "CREDIT04001", "API00009"] {
        let twice = charge_reply(&changed(&[("Status", code), ("TradeStatus", "2")]));
        let charge = charge_of("ORD_20260901-7");
        let reply = payuni_observe::charge(&payuni(), &charge, &twice);
        assert_eq!(reply, Ok(ChargeReply::Duplicate), "{code}");
        assert!(
            observed("payuni", CHARGE_REPLY, &twice).is_err(),
            "{code} says nothing of the charge"
        );
        let notice = changed(&[("Status", code), ("TradeStatus", "2")]);
        let event = read(&payuni(), "payment", &payuni_body(&notice)).unwrap();
        assert!(matches!(event.fact, Fact::PaymentHeld(_)), "{event:?}");
    }
    // A fault inside PAYUNi is no refusal either.
    for code in ["CREDIT00000", "UPP00000"] {
        let inner = changed(&[("Status", code), ("TradeStatus", "2")]);
        let charge = charge_of("ORD_20260901-7");
        let reply = payuni_observe::charge(&payuni(), &charge, &charge_reply(&inner)).unwrap();
        assert!(matches!(told(reply).fact, Fact::PaymentHeld(_)), "{code}");
        let unsealed = format!(r#"{{"Status":"{code}"}}"#);
        assert_eq!(
            payuni_observe::charge(&payuni(), &charge, unsealed.as_bytes()),
            Ok(ChargeReply::Undecided)
        );
    }
    let declined = changed(&[("Status", "CREDIT05002"), ("TradeStatus", "2")]);
    let charge = charge_of("ORD_20260901-7");
    let reply = payuni_observe::charge(&payuni(), &charge, &charge_reply(&declined)).unwrap();
    assert!(
        matches!(told(reply).fact, Fact::PaymentFailed(_)),
        "a refusal is one"
    );
}

#[test]
fn pu_6_a_charge_that_is_not_named_moves_nothing() {
    let charge = charge_of("SUB_20261101-2");
    let reply = |json: &str| payuni_observe::charge(&payuni(), &charge, json.as_bytes());
    let refused = |code: &str| ChargeReply::Refused {
        code: code.to_owned(),
        message: "x".to_owned(),
    };
    assert_eq!(
        reply(r#"{"Status":"CREDIT02025","Message":"x"}"#),
        Ok(refused("CREDIT02025"))
    );
    assert_eq!(
        reply(r#"{"Status":"UPP01007","Message":"x"}"#),
        Ok(ChargeReply::Duplicate)
    );
    assert_eq!(reply(r#"{"Status":"UNKNOWN"}"#), Ok(ChargeReply::Undecided));
    assert_eq!(
        reply(&payuni_reply("Status=CREDIT02025&Message=x", None)),
        Ok(refused("CREDIT02025"))
    );
    assert!(
        reply(r#"{"Status":"SUCCESS"}"#).is_err(),
        "an unsealed success is none"
    );
    assert!(
        reply(&payuni_reply(
            "Status=SUCCESS&TradeStatus=1&TradeNo=1&TradeAmt=1",
            None
        ))
        .is_err()
    );
    assert_eq!(
        reply(&payuni_reply("Status=CREDIT02025&Message=x&MerTradeNo=", None)),
        Ok(refused("CREDIT02025")),
        "an empty number names nothing"
    );
    // Sealed, and of another charge: whether it succeeded or not, this one is as unknown as before.
    for status in ["SUCCESS", "CREDIT04012", "UNKNOWN"] {
        let other = charge_reply(&changed(&[("Status", status)]));
        assert_eq!(
            payuni_observe::charge(&payuni(), &charge, &other),
            Err(ReplyError::Fields(Refusal::Malformed(
                "the reply speaks of another charge"
            )))
        );
    }
    // The caller decides that an unknown card is a refusal of this charge.
    let found = payuni_observe::refused_charge(&payuni(), &charge, "CREDIT02025", "查無 token").unwrap();
    let event = inbox("payuni", &found);
    assert_eq!(
        event.key.as_str(),
        "payuni:KAT0001:payment:SUB_20261101-2:none:none:CREDIT02025"
    );
    let Fact::PaymentFailed(decline) = event.fact else {
        panic!()
    };
    assert_eq!(
        (decline.money, decline.message.as_str()),
        (Some(twd(299)), "查無 token")
    );
    for code in ["SUCCESS", "UPP01007", "", "a b"] {
        assert!(
            payuni_observe::refused_charge(&payuni(), &charge, code, "").is_err(),
            "{code}"
        );
    }
}
