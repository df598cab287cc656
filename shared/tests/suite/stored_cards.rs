//! Cards that customers agreed on, and what a refused card tells (PU-6, EC-2).
//!
//! How an agreement is asked for, told and charged, and that its secret is never shown (invariant 8).

use std::collections::BTreeMap;

use tollgate_shared::event::{Decline, Event, Fact, StoredCredential};
use tollgate_shared::form::Form;
use tollgate_shared::provider::payuni::checkout::{self, CardAgreement, Method, Order};
use tollgate_shared::provider::payuni::cipher;
use tollgate_shared::provider::payuni::credit::{self, StoredCharge, UnbindReply};
use tollgate_shared::provider::{CheckoutError, DeclineReason, Hardness, decline_hardness, decline_reason};
use tollgate_shared::secret::Secret;
use tollgate_shared::time::Timestamp;

use crate::calls::{BASE, opened, twd};
use crate::fixtures::{
    NOW, PAYUNI_IV, PAYUNI_KEY, ecpay, ecpay_body, ecpay_paid, ecpay_period, payuni, payuni_body,
    payuni_paid, payuni_period, payuni_reply, read, with,
};

fn credential() -> StoredCredential {
    StoredCredential {
        hash: Secret::new("HASH/abc+17==".into()),
        expires: Some("0530".into()),
        card_last4: Some("0001".into()),
    }
}

fn stored_charge() -> StoredCharge {
    StoredCharge {
        number: "SUB_20261101-2".parse().unwrap(),
        money: twd(299),
        description: "專業方案 2026-12".into(),
        notify_url: None,
    }
}

#[test]
fn pu_6_a_stored_card_is_charged_and_let_go() {
    let charge = stored_charge();
    let request = credit::charge_request(&payuni(), BASE, &credential(), &charge, NOW).unwrap();
    assert_eq!(
        opened(&request),
        "/api/credit 1.3 MerID=KAT0001&MerTradeNo=SUB_20261101-2&TradeAmt=299&Timestamp=1793500000\
         &ProdDesc=專業方案 2026-12&CreditHash=HASH/abc+17=="
    );
    assert!(
        !format!("{request:?}").contains("HASH"),
        "invariant_8: the hash is sealed"
    );
    let notified = StoredCharge {
        notify_url: Some("https://pay.example.com/payuni".into()),
        ..charge.clone()
    };
    let request = credit::charge_request(&payuni(), BASE, &credential(), &notified, NOW).unwrap();
    assert!(opened(&request).ends_with("&NotifyURL=https://pay.example.com/payuni"));
    for bad in [
        StoredCharge {
            money: twd(0),
            ..charge.clone()
        },
        StoredCharge {
            money: twd(200_000),
            ..charge.clone()
        },
        StoredCharge {
            description: String::new(),
            ..charge.clone()
        },
        StoredCharge {
            notify_url: Some("nowhere".into()),
            ..charge.clone()
        },
        StoredCharge {
            number: "A23456789012345678901234567".parse().unwrap(),
            ..charge
        },
    ] {
        assert!(
            credit::charge_request(&payuni(), BASE, &credential(), &bad, NOW).is_err(),
            "{bad:?}"
        );
    }
    let request = credit::unbind_request(&payuni(), BASE, &credential(), CardAgreement::Member, NOW).unwrap();
    assert_eq!(
        opened(&request),
        "/api/credit_bind/cancel 1.0 MerID=KAT0001&UseTokenType=1&BindVal=HASH/abc+17==&CreditTokenType=1\
         &Timestamp=1793500000"
    );
    let told = |inner: &str| credit::unbind_reply(&payuni(), payuni_reply(inner, None).as_bytes()).unwrap();
    assert_eq!(told("Status=SUCCESS"), UnbindReply::Done);
    assert_eq!(told("Status=CANCEL03001"), UnbindReply::NothingBound);
    assert!(matches!(
        told("Status=CANCEL02005&Message=x"),
        UnbindReply::Refused { .. }
    ));
}

#[test]
fn pu_6_a_card_is_agreed_on_at_the_first_payment() {
    let order = Order {
        number: "SUB_20261101-1".parse().unwrap(),
        placed_at: Timestamp::from_unix_seconds(1_793_500_000),
        money: twd(299),
        description: "專業方案".into(),
        notify_url: "https://pay.example.com/payuni".into(),
        return_url: None,
        back_url: None,
        methods: vec![],
    };
    let fields = |order: &Order| {
        let form =
            checkout::agreement_form(&payuni(), BASE, order, CardAgreement::Member, "user-17").unwrap();
        assert_eq!(form.action, "https://x.example/api/upp");
        let sealed = form
            .fields
            .iter()
            .find(|(name, _)| name == "EncryptInfo")
            .unwrap();
        let inner = cipher::open(&sealed.1, PAYUNI_KEY, PAYUNI_IV).unwrap();
        let form = Form::parse(&inner).unwrap();
        let fields: BTreeMap<String, String> = form
            .fields()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        fields
    };
    for methods in [vec![], vec![Method::Credit]] {
        let fields = fields(&Order {
            methods,
            ..order.clone()
        });
        for (name, value) in [
            ("Credit", "1"),
            ("UseTokenType", "3"),
            ("CreditToken", "user-17"),
            ("CreditTokenType", "1"),
            ("TradeAmt", "299"),
        ] {
            assert_eq!(fields[name], value);
        }
    }
    let refused = |order: &Order, reference: &str| {
        checkout::agreement_form(&payuni(), BASE, order, CardAgreement::Shop, reference).unwrap_err()
    };
    let transfer = Order {
        methods: vec![Method::Atm],
        ..order.clone()
    };
    assert!(matches!(refused(&transfer, "u"), CheckoutError::Conflict { .. }));
    assert!(matches!(refused(&order, ""), CheckoutError::Empty { .. }));
    assert!(matches!(
        refused(&order, &"u".repeat(201)),
        CheckoutError::TooLong { .. }
    ));
}

fn from_payuni(changes: &[(&str, &str)]) -> Event {
    let inner = changes
        .iter()
        .fold(payuni_paid(), |inner, (name, value)| with(inner, name, value));
    read(&payuni(), "payment", &payuni_body(&inner)).unwrap()
}

#[test]
fn invariant_8_a_stored_card_is_told_and_never_shown() {
    let changes = [
        ("CreditHash", "HASH/abc+17=="),
        ("CreditLife", "0530"),
        ("Card4No", "0001"),
    ];
    let event = from_payuni(&changes);
    let Fact::Paid(charge) = &event.fact else {
        panic!("{event:?}")
    };
    assert_eq!(charge.credential, Some(credential()));
    assert!(!format!("{event:?}").contains("HASH"), "{event:?}");
    assert_eq!(
        event.key,
        from_payuni(&[]).key,
        "the card is no part of the fact's identity"
    );
    let other = StoredCredential {
        hash: Secret::new("HASH".into()),
        ..credential()
    };
    assert_ne!(charge.credential, Some(other));
    let odd = from_payuni(&[("CreditHash", "h"), ("CreditLife", "05/30"), ("Card4No", "")]);
    let Fact::Paid(charge) = odd.fact else { panic!() };
    let credential = charge.credential.unwrap();
    assert_eq!((credential.expires, credential.card_last4), (None, None));
    let Fact::Paid(charge) = from_payuni(&[("CreditHash", "")]).fact else {
        panic!()
    };
    assert_eq!(charge.credential, None);
}

#[test]
fn pu_3_a_period_names_its_contract() {
    let event = read(&payuni(), "period", &payuni_body(&payuni_period())).unwrap();
    let Fact::PeriodPaid(_, period) = event.fact else {
        panic!()
    };
    assert_eq!(period.contract_number.unwrap().as_str(), "20260901112904KatPrd");
    let event = read(&ecpay(), "period", &ecpay_body(&ecpay_period())).unwrap();
    let Fact::PeriodPaid(_, period) = event.fact else {
        panic!()
    };
    assert_eq!(period.contract_number, None);
}

fn decline(code: &str, bank_code: Option<&str>) -> Decline {
    Decline {
        money: None,
        provider_payment_id: None,
        code: code.to_owned(),
        bank_code: bank_code.map(str::to_owned),
        message: String::new(),
    }
}

#[test]
fn ec_2_hard_declines_are_told_from_soft_ones() {
    use Hardness::{Hard, Soft, Unknown};
    for (code, bank_code, expected) in [
        ("CREDIT04012", Some("41"), Hard),
        ("CREDIT04012", Some("43"), Hard),
        ("CREDIT04012", Some("54"), Hard),
        ("CREDIT04012", Some("14"), Hard),
        ("CREDIT04012", Some("51"), Soft),
        ("CREDIT04012", Some("05"), Soft),
        ("CREDIT04012", Some("91"), Soft),
        ("CREDIT04012", Some("99"), Unknown),
        ("CREDIT04012", None, Unknown),
        ("10100251", None, Hard),
        ("10100255", None, Hard),
        ("10100256", None, Hard),
        ("10100252", None, Soft),
        ("10100248", None, Soft),
        ("0", None, Unknown),
        ("41", None, Unknown),
    ] {
        assert_eq!(
            decline_hardness(&decline(code, bank_code)),
            expected,
            "{code} {bank_code:?}"
        );
    }
}

/// The bank's code goes first; what nobody explains claims nothing.
#[test]
fn ec_8_a_decline_says_why_in_a_word() {
    use DeclineReason::{CardExpired, CardUnusable, InsufficientFunds, Refused};
    for (code, bank_code, expected) in [
        ("CREDIT04012", Some("54"), CardExpired),
        ("CREDIT04012", Some("51"), InsufficientFunds),
        ("CREDIT04012", Some("61"), InsufficientFunds),
        ("CREDIT04012", Some("43"), CardUnusable),
        ("CREDIT04012", Some("05"), Refused),
        ("CREDIT04012", Some("99"), Refused),
        ("CREDIT04012", None, Refused),
        ("10100251", None, CardExpired),
        ("10100251", Some("05"), Refused),
        ("10100252", None, InsufficientFunds),
        ("10100255", None, CardUnusable),
        ("10100058", None, Refused),
        ("BY_HAND", None, Refused),
    ] {
        let reason = decline_reason(&decline(code, bank_code));
        assert_eq!(reason, expected, "{code} {bank_code:?}");
        assert_eq!(DeclineReason::from_label(reason.label()), Some(reason));
    }
    assert_eq!(DeclineReason::from_label("other"), None);
}

#[test]
fn ec_2_a_decline_carries_the_banks_code() {
    let changes = [("Status", "CREDIT04012"), ("TradeStatus", "2"), ("ResCode", "54")];
    let Fact::PaymentFailed(declined) = from_payuni(&changes).fact else {
        panic!()
    };
    assert_eq!(
        (declined.code.as_str(), declined.bank_code.as_deref()),
        ("CREDIT04012", Some("54"))
    );
    assert_eq!(decline_hardness(&declined), Hardness::Hard);
    let same = from_payuni(&changes[..2]);
    assert_eq!(
        from_payuni(&changes).key,
        same.key,
        "the bank's code is no part of the key"
    );
    let odd = from_payuni(&[
        ("Status", "CREDIT04012"),
        ("TradeStatus", "2"),
        ("ResCode", "a b"),
    ]);
    let Fact::PaymentFailed(declined) = odd.fact else {
        panic!()
    };
    assert_eq!(declined.bank_code, None);
}

#[test]
fn pm_4_a_result_to_be_confirmed_is_neither_money_nor_a_refusal() {
    let body = |fields| ecpay_body(&with(fields, "RtnCode", "10300066"));
    for (notice, fields) in [("payment", ecpay_paid()), ("period", ecpay_period())] {
        let event = read(&ecpay(), notice, &body(fields)).unwrap();
        assert!(matches!(event.fact, Fact::PaymentHeld(_)), "{event:?}");
        assert!(event.key.as_str().ends_with(":held:10300066"), "{}", event.key);
    }
}
