//! What PAYUNi's trade and period queries tell, beside its notices.

use tollgate_shared::event::Fact;
use tollgate_shared::provider::payuni::observe as payuni_observe;
use tollgate_shared::provider::payuni::reply::ReplyError;
use tollgate_shared::provider::{OBSERVED_PAYMENT, OBSERVED_PERIOD, Refusal};

use super::{assert_same, inbox, keys, observed};
use crate::calls::twd;
use crate::fixtures::{
    Pairs, as_strs, pairs, payuni, payuni_body, payuni_paid, payuni_period, payuni_reply, read, with, without,
};

/// A row of `/api/trade/query` with the fields of a payment's notice.
pub(super) fn trade_rows(rows: &[Pairs]) -> Vec<u8> {
    let mut inner = pairs(&[
        ("Status", "SUCCESS"),
        ("Message", "查詢成功"),
        ("MerID", "KAT0001"),
    ]);
    for (index, row) in rows.iter().enumerate() {
        let row = row
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "Status" | "Message" | "MerID"));
        inner.extend(row.map(|(name, value)| (format!("Result[{index}][{name}]"), value.clone())));
    }
    payuni_reply(&tollgate_shared::form::encode(as_strs(&inner)), None).into_bytes()
}

pub(super) fn changed(changes: &[(&str, &str)]) -> Pairs {
    changes
        .iter()
        .fold(payuni_paid(), |inner, (name, value)| with(inner, name, value))
}

#[test]
fn op_5_a_payuni_payment_is_told_alike_by_notice_and_query() {
    for (changes, kind) in [
        (&[][..], "paid"),
        (&[("TradeStatus", "3")], "canceled"),
        (&[("TradeStatus", "4")], "expired"),
        (
            &[
                ("TradeStatus", "0"),
                ("PaymentType", "2"),
                ("BankType", "812"),
                ("PayNo", "9103"),
            ],
            "code issued",
        ),
        (
            &[
                ("CreditHash", "h/1=="),
                ("CreditLife", "0530"),
                ("Card4No", "0001"),
            ],
            "agreed on",
        ),
    ] {
        // A row has no Message.
        let inner = without(changed(changes), "Message");
        let notice = read(&payuni(), "payment", &payuni_body(&inner)).unwrap();
        let found = payuni_observe::trades(&payuni(), &trade_rows(&[inner])).unwrap();
        assert_eq!(found.len(), 1, "{kind}");
        assert_same(&notice, &inbox("payuni", &found[0]));
    }
}

#[test]
fn op_5_a_payuni_trade_that_is_open_tells_nothing() {
    let open = [
        changed(&[("TradeStatus", "9")]),
        changed(&[("TradeStatus", "8")]),
        changed(&[("TradeStatus", "0")]),
        changed(&[("DataSource", "B")]),
        changed(&[("PeriodOrderNo", "SUB-1_2")]),
        without(payuni_paid(), "TradeStatus"),
    ];
    assert_eq!(payuni_observe::trades(&payuni(), &trade_rows(&open)), Ok(vec![]));
    for row in &open {
        let refused = observed("payuni", OBSERVED_PAYMENT, &trade_rows(std::slice::from_ref(row)));
        assert_eq!(
            refused,
            Err(Refusal::Malformed("the row tells of no payment")),
            "{row:?}"
        );
    }
    // Among others, the one that tells is cut out and sealed by itself.
    let mixed = [
        open[0].clone(),
        payuni_paid(),
        changed(&[("TradeStatus", "2"), ("TradeNo", "18")]),
    ];
    let found = payuni_observe::trades(&payuni(), &trade_rows(&mixed)).unwrap();
    let key = "payment:ORD_20260901-7";
    assert_eq!(
        keys(&found),
        [format!("{key}:1756691969756516958:1"), format!("{key}:18:2")]
    );
    for found in &found {
        inbox("payuni", found);
    }
    let whole = observed("payuni", OBSERVED_PAYMENT, &trade_rows(&mixed));
    assert_eq!(
        whole,
        Err(Refusal::Malformed("not exactly one row: which one is meant?"))
    );
    let refused = payuni_reply("Status=QUERY03001&Message=x", None);
    assert!(matches!(
        payuni_observe::trades(&payuni(), refused.as_bytes()),
        Err(ReplyError::Refused { .. })
    ));
    assert!(observed("payuni", OBSERVED_PAYMENT, refused.as_bytes()).is_err());
}

/// A `/api/period/query` reply; each row is number, TradeNo, AuthCode, words.
pub(super) fn schedule(rows: &[(u32, &str, &str, &str)]) -> Vec<u8> {
    let mut inner = pairs(&[
        ("Status", "SUCCESS"),
        ("MerID", "KAT0001"),
        ("MerTradeNo", "SUB-20260901-0001"),
        ("PeriodTradeNo", "20260901112904KatPrd"),
        ("PeriodType", "month"),
        ("TotalTimes", "12"),
    ]);
    for (index, (number, trade_no, auth_code, words)) in rows.iter().enumerate() {
        let own = if auth_code.is_empty() {
            String::new()
        } else {
            format!("SUB-20260901-0001_{number}")
        };
        let row = [
            ("Period", number.to_string()),
            ("ExpAuthDT", "2026-09-05 11:29:28".to_owned()),
            ("TradeNo", (*trade_no).to_owned()),
            ("SubPeriodNo", own),
            ("Amt", "299".to_owned()),
            ("AuthCode", (*auth_code).to_owned()),
            ("StatusDesc", (*words).to_owned()),
            ("UpdateTime", "2026-09-05 11:30:00".to_owned()),
        ];
        inner.extend(row.map(|(name, value)| (format!("Result[{index}][{name}]"), value)));
    }
    payuni_reply(&tollgate_shared::form::encode(as_strs(&inner)), None).into_bytes()
}

#[test]
fn pu_5_a_payuni_period_is_told_alike_by_notice_and_schedule() {
    let notice = read(&payuni(), "period", &payuni_body(&payuni_period())).unwrap();
    let charged = (2, "1756691969756516957", "000000", "授權完成");
    let found = payuni_observe::periods(&payuni(), &schedule(&[charged])).unwrap();
    assert_same(&notice, &inbox("payuni", &found[0]));
    let rows = [
        charged,
        (3, "19", "", "授權失敗"),
        (4, "-", "", "授權失敗"),
        (5, "-", "", "暫停"),
        (6, "-", "", "排程中"),
    ];
    let found = payuni_observe::periods(&payuni(), &schedule(&rows)).unwrap();
    let key = "period:SUB-20260901-0001";
    assert_eq!(
        keys(&found),
        [
            format!("{key}_2:1756691969756516957:SUCCESS"),
            format!("{key}_3:19:NOT_AUTHORISED"),
            format!("{key}_4:none:NOT_AUTHORISED"),
        ]
    );
    assert_same(&notice, &inbox("payuni", &found[0]));
    let Fact::PeriodFailed(decline, period) = inbox("payuni", &found[1]).fact else {
        panic!()
    };
    assert_eq!((period.number, period.total), (Some(3), Some(12)));
    assert_eq!(
        (decline.money, decline.provider_payment_id.unwrap().as_str()),
        (Some(twd(299)), "19")
    );
    for open in &rows[3..] {
        let refused = observed("payuni", OBSERVED_PERIOD, &schedule(&[*open]));
        assert_eq!(
            refused,
            Err(Refusal::Malformed("the period was neither charged nor refused"))
        );
    }
}

#[test]
fn pu_5_the_longest_schedule_fits_the_inbox_one_by_one() {
    let rows: Vec<_> = (1..=900)
        .map(|number| (number, "17", "000000", "授權完成"))
        .collect();
    let found = payuni_observe::periods(&payuni(), &schedule(&rows)).unwrap();
    assert_eq!(found.len(), 900);
    assert!(found.iter().all(|found| found.body.len() < 4096));
}
