//! Both sides of the wire, server to server: what Tollgate asks the sandbox answers, what it answers Tollgate reads.
//!
//! As in `agreement`: the two were written apart from the same reference (EC-2, PU-5, PU-6, OP-5).

use serde_json::{Value, json};
use tollgate_shared::event::Fact;
use tollgate_shared::id::{OrderNumber, ProviderPaymentId};
use tollgate_shared::money::{Minor, Money};
use tollgate_shared::provider::ServerRequest;
use tollgate_shared::provider::Sources;
use tollgate_shared::provider::ecpay::do_action::{self, Action, DoActionReply};
use tollgate_shared::provider::ecpay::period_action::{self, PeriodAction, PeriodActionReply};
use tollgate_shared::provider::ecpay::{period_info, query};
use tollgate_shared::provider::payuni::checkout::{self, CardAgreement, Method};
use tollgate_shared::provider::payuni::credit::{self, StoredCharge, UnbindReply};
use tollgate_shared::provider::payuni::period_calls::{self, PeriodChange, PeriodChangeReply};
use tollgate_shared::provider::payuni::reply::CallReply;
use tollgate_shared::provider::payuni::trade_calls::{self, Close, CloseStatus, RefundStatus, TradeStatus};

use crate::agreement::{event, sources, submit};
use crate::calendar::{common_year, go_to, now};
use crate::stage::{Stage, encode, fields, patient, sealed, with};

async fn send(stage: &Stage, request: ServerRequest) -> Vec<u8> {
    let path = request.url.strip_prefix(&stage.sandbox.base_url()).unwrap();
    let answered = stage.post(path, encode(&request.fields)).await;
    assert_eq!(answered.status, 200, "{path}: {}", answered.body);
    answered.body.into_bytes()
}

fn order(number: &str) -> OrderNumber {
    number.parse().unwrap()
}

async fn decline(stage: &Stage, contract: &str, rules: Value) {
    let answered = stage
        .control(&format!("contracts/{contract}/declines"), rules)
        .await;
    assert_eq!(answered.status, 200, "{}", answered.body);
}

async fn ecpay_contract(stage: &Stage, number: &str) -> i64 {
    let year = common_year(stage).await;
    go_to(stage, &format!("{year}-01-31 15:00")).await;
    stage
        .open(with(stage.periodic_order(number), &[("ExecTimes", "12")]))
        .await;
    stage.act(&format!("ecpay/{number}"), "pay", json!({})).await;
    year
}

#[tokio::test]
async fn op_5_tollgate_reads_what_the_fake_ecpay_says_about_a_contract() {
    let stage = Stage::ecpay().await;
    let (sources, base, number) = (sources(false), stage.sandbox.ecpay_url(), order("AC1"));
    let ecpay = sources.ecpay().unwrap();
    let year = ecpay_contract(&stage, "AC1").await;
    decline(&stage, "ecpay/AC1", json!({ "next": 3 })).await;
    go_to(&stage, &format!("{year}-07-01 00:00")).await;
    let at = now(&stage).await;
    let asked = |what| query::request(ecpay, &base, what, &number, at);
    let told = query::trade_info(ecpay, &send(&stage, asked(query::Query::TradeInfo)).await).unwrap();
    assert_eq!(
        (
            told.status,
            told.total_success_times,
            told.total_success_amount.map(Minor::get)
        ),
        (query::TradeStatus::Paid, Some(3), Some(900))
    );
    let info = period_info::read(&send(&stage, asked(query::Query::PeriodInfo)).await).unwrap();
    assert_eq!(info.status, Some(period_info::ExecStatus::Running));
    let paid: Vec<bool> = info.attempts.iter().map(|attempt| attempt.paid).collect();
    assert_eq!(
        paid,
        [true, false, false, false, false, true, true],
        "one failure is told twice"
    );
    let later = info.attempts[6].trade_no.as_ref().unwrap().as_str();
    assert_eq!(later.len(), 20);
    let notices = stage.shop.got().into_iter().filter(|got| got.path == "/period");
    let facts: Vec<bool> = notices
        .map(|got| event("ecpay", "period", &got, at).fact)
        .map(|fact| matches!(fact, Fact::PeriodPaid(..)))
        .collect();
    assert_eq!(
        facts,
        [false, false, false, true, true],
        "both spellings of Gwsr are read"
    );
}

#[tokio::test]
async fn ec_2_what_tollgate_orders_the_fake_ecpay_does() {
    let stage = Stage::ecpay().await;
    let (sources, base, number) = (sources(false), stage.sandbox.ecpay_url(), order("AC2"));
    let ecpay = sources.ecpay().unwrap();
    let year = ecpay_contract(&stage, "AC2").await;
    decline(&stage, "ecpay/AC2", json!({ "next": 1 })).await;
    go_to(&stage, &format!("{year}-03-01 09:00")).await;
    let at = now(&stage).await;
    let act = async |action, number: &OrderNumber| {
        let request = period_action::request(ecpay, &base, action, number, at);
        period_action::reply(ecpay, number, &send(&stage, request).await).unwrap()
    };
    assert_eq!(act(PeriodAction::ReAuth, &number).await, PeriodActionReply::Done);
    stage.advance(60).await;
    assert_eq!(act(PeriodAction::Cancel, &number).await, PeriodActionReply::Done);
    assert_eq!(
        act(PeriodAction::Cancel, &number).await,
        PeriodActionReply::AlreadyStopped
    );
    assert_eq!(
        act(PeriodAction::Cancel, &order("NONE")).await,
        PeriodActionReply::NotFound
    );
    let view = stage.get("/control/v1/contracts/ecpay/AC2").await.json();
    let paid_again = view["charges"][2]["tradeNo"].as_str().unwrap();
    let charge: ProviderPaymentId = paid_again.parse().unwrap();
    let settle = async |action, money| {
        let request = do_action::request(ecpay, &base, (&number, &charge), action, Money::twd(money));
        do_action::reply(ecpay, &number, &send(&stage, request.unwrap()).await).unwrap()
    };
    assert!(matches!(
        settle(Action::Abandon, 300).await,
        DoActionReply::Refused { .. }
    ));
    assert_eq!(settle(Action::CancelCapture, 300).await, DoActionReply::Done);
    assert_eq!(settle(Action::Capture, 300).await, DoActionReply::Done);
    assert_eq!(settle(Action::Refund, 100).await, DoActionReply::Done);
}

/// A PAYUNi contract of day 31; the year and PAYUNi's number of it.
async fn payuni_contract(stage: &Stage, number: &str) -> (i64, ProviderPaymentId) {
    let year = common_year(stage).await;
    go_to(stage, &format!("{year}-01-15 15:00")).await;
    let form = fields(&[
        ("MerID", "KAT0001"),
        ("MerTradeNo", number),
        ("PeriodAmt", "299"),
        ("ProdDesc", "plan"),
        ("PeriodType", "month"),
        ("PeriodDate", "31"),
        ("PeriodTimes", "5"),
        ("FType", "build"),
        ("NotifyURL", &format!("{}/period", stage.shop.base_url)),
    ]);
    let page = stage
        .post("/payuni/api/period/Page", encode(&sealed("1.0", &form)))
        .await;
    assert_eq!(page.status, 200);
    let trade = stage.act(&format!("payuni/{number}"), "pay", json!({})).await;
    let contract = trade["plan"]["periodTradeNo"].as_str().unwrap();
    (year, contract.parse().unwrap())
}

#[tokio::test]
async fn pu_6_what_tollgate_orders_the_fake_payuni_does_and_its_schedule_is_read() {
    let stage = Stage::with(patient(), "OK").await;
    let (sources, base): (Sources, String) = (sources(false), stage.sandbox.payuni_url());
    let payuni = sources.payuni().unwrap();
    let (year, contract) = payuni_contract(&stage, "AC-3").await;
    decline(&stage, "payuni/AC-3", json!({ "next": 1 })).await;
    go_to(&stage, &format!("{year}-02-01 09:00")).await;
    let schedule = async || {
        let request = period_calls::query_request(payuni, &base, &contract).unwrap();
        period_calls::schedule(payuni, &send(&stage, request).await).unwrap()
    };
    let told = schedule().await;
    assert_eq!(
        (told.total, told.already, told.periods.len()),
        (Some(5), Some(1), 5)
    );
    let states: Vec<(bool, bool, bool)> = told
        .periods
        .iter()
        .map(|period| (period.charge.is_some(), period.failed, period.waiting))
        .collect();
    assert_eq!(
        states[..3],
        [(true, false, false), (false, true, false), (false, false, true)]
    );
    let change = async |change, contract: &ProviderPaymentId| {
        let request = period_calls::change_request(payuni, &base, contract, change).unwrap();
        period_calls::change_reply(payuni, &send(&stage, request).await).unwrap()
    };
    let retried = change(PeriodChange::Reauth { period: 2 }, &contract).await;
    assert!(
        matches!(&retried, PeriodChangeReply::Done { trade_no: Some(_), period_order_no: Some(of) } if of == "AC-3_2"),
        "{retried:?}"
    );
    assert!(schedule().await.periods[1].charge.is_some());
    for (order, expected) in [
        (PeriodChange::Suspend, true),
        (PeriodChange::Restart, true),
        (PeriodChange::End, true),
    ] {
        let done = matches!(change(order, &contract).await, PeriodChangeReply::Done { .. });
        assert_eq!(done, expected);
    }
    assert_eq!(
        change(PeriodChange::End, &contract).await,
        PeriodChangeReply::AlreadyEnded
    );
    let none: ProviderPaymentId = "20270101000000S00000".parse().unwrap();
    assert_eq!(
        change(PeriodChange::End, &none).await,
        PeriodChangeReply::NotFound
    );
}

#[tokio::test]
async fn pu_6_the_page_for_another_card_is_found_in_the_reply() {
    let stage = Stage::with(patient(), "OK").await;
    let (sources, base) = (sources(false), stage.sandbox.payuni_url());
    let payuni = sources.payuni().unwrap();
    let (_, contract) = payuni_contract(&stage, "AC-4").await;
    let request = period_calls::card_change_request(payuni, &base, &contract).unwrap();
    let page = period_calls::card_change_page(payuni, &send(&stage, request).await).unwrap();
    let url = page.url.unwrap();
    assert!(url.starts_with(&stage.sandbox.base_url()), "{url}");
}

#[tokio::test]
async fn pm_8_refunds_and_stored_cards_agree() {
    let stage = Stage::with(patient(), "OK").await;
    let (sources, base) = (sources(false), stage.sandbox.payuni_url());
    let payuni = sources.payuni().unwrap();
    let first = checkout::Order {
        number: order("AC_5"),
        placed_at: now(&stage).await,
        money: Money::twd(299),
        description: "專業版".into(),
        notify_url: format!("{}/notice", stage.shop.base_url),
        return_url: None,
        back_url: None,
        methods: vec![Method::Credit],
    };
    let form = checkout::agreement_form(payuni, &base, &first, CardAgreement::Member, "member-9").unwrap();
    assert_eq!(submit(&stage, &form).await, 200);
    stage.act("payuni/AC_5", "pay", json!({})).await;
    let Fact::Paid(bound) = event("payuni", "payment", &stage.shop.got()[0], now(&stage).await).fact else {
        panic!("the payment that binds the card is a payment");
    };
    let credential = bound.credential.unwrap();
    assert_eq!(
        (credential.expires.as_deref(), credential.card_last4.as_deref()),
        (Some("1230"), Some("0001"))
    );
    let again = StoredCharge {
        number: order("AC_6"),
        money: Money::twd(299),
        description: "專業版".into(),
        notify_url: None,
    };
    let request = credit::charge_request(payuni, &base, &credential, &again, now(&stage).await).unwrap();
    send(&stage, request).await;
    stage.advance(86_400).await;
    let asked = trade_calls::query_request(payuni, &base, &order("AC_6"), now(&stage).await).unwrap();
    let told = trade_calls::trades(payuni, &send(&stage, asked).await)
        .unwrap()
        .remove(0);
    assert_eq!(
        (&told.status, &told.close),
        (&TradeStatus::Paid, &Some(CloseStatus::Captured))
    );
    let charge = told.trade_no.unwrap();
    let refund = Close::Refund(Money::twd(100));
    let request = trade_calls::close_request(payuni, &base, &charge, refund, now(&stage).await).unwrap();
    let reply = trade_calls::close_reply(payuni, &send(&stage, request).await).unwrap();
    assert_eq!(reply, CallReply::Done);
    let request = trade_calls::cancel_request(payuni, &base, &charge, now(&stage).await).unwrap();
    let reply = trade_calls::cancel_reply(payuni, &send(&stage, request).await).unwrap();
    assert!(matches!(reply, CallReply::Refused { .. }), "captured already");
    let asked = trade_calls::query_charge_request(payuni, &base, &charge, now(&stage).await).unwrap();
    let told = trade_calls::trades(payuni, &send(&stage, asked).await)
        .unwrap()
        .remove(0);
    assert_eq!(
        (told.refund, told.remaining_amount.map(Minor::get)),
        (Some(RefundStatus::Refunded), Some(199))
    );
    let unbind = async || {
        let at = now(&stage).await;
        let request = credit::unbind_request(payuni, &base, &credential, CardAgreement::Member, at);
        credit::unbind_reply(payuni, &send(&stage, request.unwrap()).await).unwrap()
    };
    assert_eq!(unbind().await, UnbindReply::Done);
    assert_eq!(unbind().await, UnbindReply::NothingBound);
}
