//! EC-9: the road of a subscription from its first refused charge through grace to FREE and back, on a clock that the test
//! moves; and its twins: told late, found by asking, lost, told by two at once, out of order, of a wrong amount.
//!
//! How: a line says how the subscription and its user stand, as the database has it (`look::subscription`); days are
//! Taiwan's, 2026 and 2027. The rules themselves have tables of their own (`domain::subscription::tests`).

use serde_json::{Value, json};
use tollgate_shared::provider::ecpay::mac::{Algorithm, check_mac_value};
use tollgate_shared::provider::ecpay::observe;

use super::notices::{ECPAY, Ecpay, Notice, trade_no};
use super::purchases::join_all;
use super::stage::{Stage, taipei};
use crate::clock::Clock as _;
use crate::db::look;
use crate::inbox::accept_observed;

/// A customer's subscription: pro-monthly at ECPay, NT$300, paid for the first time on 21 November at 10:05.
struct Contract {
    stage: Stage,
    user: String,
    order: String,
}

impl Contract {
    async fn begin() -> Self {
        let stage = Stage::start().await;
        let contract = Self::bought(stage, "user-1").await;
        contract.at("2026/11/21 10:06:00").await;
        contract
            .stage
            .apply(&Ecpay::paid(&contract.order, 300).signed())
            .await;
        contract
    }

    /// Bought and not yet paid.
    async fn bought(stage: Stage, user: &str) -> Self {
        let (_, order) = stage.buy(user, json!({ "planId": "pro-monthly" })).await;
        Self {
            stage,
            user: user.to_owned(),
            order,
        }
    }

    /// The world at an instant: time passes, loops work.
    async fn at(&self, instant: &str) {
        let now = self.stage.clock.now();
        self.stage.after(taipei(instant).distance(now)).await;
    }

    fn refused(&self, gwsr: &str, at: &str) -> Notice {
        Ecpay::period(&self.order, 300, gwsr, at, 1)
            .with("RtnCode", "10100058")
            .with("RtnMsg", "Authorization failed")
            .signed()
    }

    fn paid(&self, gwsr: &str, at: &str) -> Notice {
        Ecpay::period(&self.order, 300, gwsr, at, 2).signed()
    }

    async fn line(&self) -> String {
        look::subscription(&self.stage.admin, &self.order).await
    }

    async fn expect(&self, line: &str) {
        assert_eq!(self.line().await, line, "at {}", self.stage.clock.now());
    }

    async fn steps(&self) -> Vec<String> {
        look::subscription_steps(&self.stage.admin, &self.order).await
    }

    async fn notices(&self) -> Vec<String> {
        let rows = look::rows(&self.stage.admin, "notices").await;
        let mut kinds: Vec<String> = rows
            .iter()
            .map(|row| row["kind"].as_str().unwrap().to_owned())
            .collect();
        kinds.sort();
        kinds
    }

    /// Effects of a kind that were written, whatever became of them.
    async fn effects(&self, kind: &str) -> usize {
        let rows = look::rows(&self.stage.admin, "outbox").await;
        rows.iter().filter(|row| row["kind"] == kind).count()
    }
}

const PAID: &str = "active failures=0 grace=- retry=- | pro until 12-22 00:00";

/// until then time passes | then this is told | retries asked for so far | how it stands
const ROAD: &str = "
    2026/12/21 06:00 | refused | 0 | past_due failures=1 grace=12-28 06:00 retry=12-22 06:00 | pro until 12-28 06:00
    2026/12/22 06:00 | -       | 1 | past_due failures=1 grace=12-28 06:00 retry=12-24 06:00 | pro until 12-28 06:00
    2026/12/22 06:30 | refused | 1 | past_due failures=2 grace=12-31 06:00 retry=12-24 06:00 | pro until 12-31 06:00
    2026/12/24 06:00 | -       | 2 | past_due failures=2 grace=12-31 06:00 retry=12-28 06:00 | pro until 12-31 06:00
    2026/12/24 06:30 | refused | 2 | past_due failures=3 grace=12-31 06:00 retry=12-28 06:00 | pro until 12-31 06:00
    2026/12/28 06:00 | -       | 3 | past_due failures=3 grace=12-31 06:00 retry=- | pro until 12-31 06:00
    2026/12/31 05:59 | -       | 3 | past_due failures=3 grace=12-31 06:00 retry=- | pro until 12-31 06:00
    2026/12/31 06:00 | -       | 3 | active failures=3 grace=- retry=- downgraded=12-31 06:00 payment_failed | free until -
    2027/01/02 08:00 | paid    | 3 | active failures=0 grace=- retry=- | pro until 01-22 00:00
";

#[tokio::test]
async fn ec_9_from_the_first_failure_through_grace_and_downgrade_to_recovery() {
    let contract = Contract::begin().await;
    contract.expect(PAID).await;
    for (number, row) in ROAD.trim().lines().enumerate() {
        let mut cells = row.splitn(4, '|').map(str::trim);
        let mut cell = || cells.next().unwrap();
        let (at, told, retries, line) = (format!("{}:00", cell()), cell(), cell(), cell());
        contract.at(&at).await;
        let gwsr = format!("200{number}");
        match told {
            "refused" => contract.stage.apply(&contract.refused(&gwsr, &at)).await,
            "paid" => contract.stage.apply(&contract.paid(&gwsr, &at)).await,
            _ => {}
        }
        let asked = contract.effects("subscription_retry").await;
        assert_eq!(asked.to_string(), retries, "EC-2, {row}");
        contract.expect(line).await;
    }
    assert_eq!(
        contract.steps().await,
        [
            "activated",
            "first_failure",
            "retry_asked",
            "second_failure",
            "retry_asked",
            "final_warning",
            "retry_asked",
            "downgraded",
            "recovered"
        ]
    );
    assert_eq!(
        contract.notices().await,
        [
            "downgraded",
            "final_warning",
            "first_failure",
            "payment_received",
            "recovered",
            "second_failure"
        ]
    );
    let faults = contract.stage.tally().await;
    assert_eq!((faults["ledger faults"], faults["charges settled"]), (0, 2));
}

#[tokio::test]
async fn ec_6_an_attempt_shows_when_it_is_tried_again() {
    let contract = Contract::begin().await;
    contract.at("2026/12/21 06:00:00").await;
    let refused = contract.refused("2001", "2026/12/21 04:00:00");
    contract.stage.apply(&refused).await;
    contract.at("2026/12/22 06:00:00").await;
    let rows = look::rows(&contract.stage.admin, "subscription_payments").await;
    let failed = rows.iter().find(|row| row["status"] == "failed").unwrap();
    let shown = |name: &str| &failed[name];
    assert_eq!(
        (shown("retry_count"), shown("max_retries"), shown("hard_decline")),
        (&json!(1), &json!(3), &json!(false))
    );
    assert_eq!(
        (shown("last_retry_at"), shown("next_retry_at")),
        (
            &json!("2026-12-21T22:00:00+00:00"),
            &json!("2026-12-23T22:00:00+00:00")
        )
    );
    let periods = look::rows(&contract.stage.admin, "period_transactions").await;
    assert_eq!(periods.len(), 2, "PU-4: {periods:?}");
}

#[tokio::test]
async fn op_5_one_refusal_told_with_its_number_and_without_is_one_row_in_either_order() {
    let at = "2026/12/21 06:00:00";
    let tellings = [("0", "10100058"), ("0", "0"), ("777", "10100058")];
    let mut rows = Vec::new();
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let contract = Contract::begin().await;
        contract.at("2026/12/21 07:00:00").await;
        for index in order {
            let (gwsr, code) = tellings[index];
            let told = Ecpay::period(&contract.order, 300, gwsr, at, 1).with("RtnCode", code);
            contract.stage.apply(&told.signed()).await;
        }
        let attempts = look::rows(&contract.stage.admin, "subscription_payments").await;
        let refused: Vec<_> = attempts.iter().filter(|row| row["status"] == "failed").collect();
        assert_eq!(refused.len(), 1, "{order:?}: {refused:?}");
        let row = refused[0];
        rows.push((row["provider_payment_id"].clone(), row["error_code"].clone()));
        assert!(row["attempt_key"].as_str().unwrap().contains(":777:"), "{row}");
        assert!(contract.line().await.contains("failures=1"), "{order:?}");
        // Another day is another attempt.
        let again = contract.refused("0", "2026/12/22 06:00:00");
        contract.stage.apply(&again).await;
        assert!(contract.line().await.contains("failures=2"), "{order:?}");
    }
    let expected = (json!("777"), json!("10100058"));
    assert!(rows.iter().all(|row| *row == expected), "{rows:?}");
}

#[tokio::test]
async fn ec_9_a_failure_that_is_told_late_gives_grace_from_when_it_was_told() {
    let contract = Contract::begin().await;
    contract.at("2026/12/23 09:00:00").await;
    contract
        .expect("active failures=0 grace=- retry=- | pro until 12-25 00:00")
        .await;
    contract
        .stage
        .apply(&contract.refused("2001", "2026/12/21 04:00:00"))
        .await;
    contract
        .expect("past_due failures=1 grace=12-30 09:00 retry=12-24 09:00 | pro until 12-30 09:00")
        .await;
}

#[tokio::test]
async fn ec_9_a_lost_notice_is_asked_for_and_costs_nobody_access() {
    let contract = Contract::begin().await;
    contract.at("2026/12/21 11:59:00").await;
    contract.expect(PAID).await;
    assert_eq!(contract.effects("subscription_poll").await, 0);
    contract.at("2026/12/21 12:00:00").await;
    assert_eq!(
        contract.effects("subscription_poll").await,
        1,
        "half a day after it was due"
    );
    contract
        .expect("active failures=0 grace=- retry=- | pro until 12-25 00:00")
        .await;
    contract.at("2026/12/22 00:00:00").await;
    assert_eq!(contract.effects("subscription_poll").await, 2);
    contract
        .stage
        .apply(&contract.paid("2001", "2026/12/21 04:00:00"))
        .await;
    contract
        .expect("active failures=0 grace=- retry=- | pro until 01-22 00:00")
        .await;
    contract.at("2027/01/20 00:00:00").await;
    assert_eq!(
        contract.effects("subscription_poll").await,
        2,
        "news end the questions"
    );
}

/// ECPay's answers about the contract: the first charge, and one refused attempt.
fn answers(order: &str, refused_gwsr: &str, at: &str) -> (Vec<u8>, Vec<u8>) {
    let trade = trade_no(order);
    let fields = [
        ("ExecTimes", "12"),
        ("gwsr", "11111111"),
        ("ItemName", "Plan pro-monthly"),
        ("MerchantID", ECPAY[0]),
        ("MerchantTradeNo", order),
        ("PaymentDate", "2026/11/21 10:05:00"),
        ("PaymentType", "Credit_CreditCard"),
        ("TotalSuccessAmount", "300"),
        ("TotalSuccessTimes", "1"),
        ("TradeAmt", "300"),
        ("TradeDate", "2026/11/21 10:00:00"),
        ("TradeNo", &trade),
        ("TradeStatus", "1"),
    ];
    let mac = check_mac_value(fields.iter().copied(), ECPAY[1], ECPAY[2], Algorithm::Sha256);
    // Not encoded: so ECPay answers.
    let signed: Vec<String> = fields
        .iter()
        .copied()
        .chain([("CheckMacValue", mac.as_str())])
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let log = json!({
        "ExecStatus": "1", "MerchantID": ECPAY[0], "MerchantTradeNo": order, "TotalSuccessTimes": 1,
        "ExecLog": [
            { "RtnCode": 1, "RtnMsg": "交易成功", "amount": 300, "gwsr": 11_111_111,
              "process_date": "2026/11/21 10:05:00", "auth_code": "777777", "TradeNo": trade },
            { "RtnCode": "10100058", "RtnMsg": "Authorization failed", "amount": 300, "gwsr": refused_gwsr,
              "process_date": at, "auth_code": "", "TradeNo": "" },
        ],
    });
    (signed.join("&").into_bytes(), log.to_string().into_bytes())
}

/// OP-5: what asking finds begins the same dunning, and a notice that comes after it changes nothing.
#[tokio::test]
async fn op_5_ec_9_a_failure_found_by_asking_begins_the_same_dunning() {
    let contract = Contract::begin().await;
    contract.at("2026/12/21 06:00:00").await;
    let (trade_info, log) = answers(&contract.order, "2001", "2026/12/21 04:00:00");
    let shop = contract.stage.origin.config.sources.ecpay().unwrap();
    let found = observe::periods(shop, &trade_info, &log).unwrap();
    for observation in &found.told {
        let now = contract.stage.clock.now();
        accept_observed(
            &contract.stage.origin,
            &"ecpay".parse().unwrap(),
            observation,
            now,
        )
        .await
        .unwrap();
    }
    let past_due = "past_due failures=1 grace=12-28 06:00 retry=12-22 06:00 | pro until 12-28 06:00";
    contract.expect(past_due).await;
    let rows = look::rows(&contract.stage.admin, "subscription_payments").await;
    let found_by: Vec<&Value> = rows.iter().map(|row| &row["found_by"]).collect();
    assert!(found_by.contains(&&json!("poll")), "{found_by:?}");

    let before = contract.stage.tally().await;
    let notice = contract.refused("2001", "2026/12/21 04:00:00");
    contract.stage.apply(&notice).await;
    assert_eq!(contract.stage.tally().await, before);
    contract.expect(past_due).await;
}

#[tokio::test]
async fn ec_9_eight_tellings_at_once_are_one_failure_and_two_failures_at_once_are_two() {
    let contract = Contract::begin().await;
    contract.at("2026/12/22 06:00:00").await;
    let first = contract.refused("2001", "2026/12/21 04:00:00");
    join_all((0..8).map(|_| contract.stage.forward(&first))).await;
    contract.stage.drain().await;
    contract
        .expect("past_due failures=1 grace=12-29 06:00 retry=12-23 06:00 | pro until 12-29 06:00")
        .await;
    let others = [
        contract.refused("2002", "2026/12/21 20:00:00"),
        contract.refused("2003", "2026/12/22 04:00:00"),
    ];
    join_all(others.iter().map(|notice| contract.stage.forward(notice))).await;
    contract.stage.drain().await;
    contract
        .expect("past_due failures=3 grace=01-01 06:00 retry=12-23 06:00 | pro until 01-01 06:00")
        .await;
    assert_eq!(
        contract.steps().await,
        ["activated", "first_failure", "second_failure", "final_warning"]
    );
}

/// The success is known before the refusal that it mended: nobody is warned of what is over.
#[tokio::test]
async fn ec_9_a_failure_that_arrives_after_its_recovery_warns_nobody() {
    let contract = Contract::begin().await;
    contract.at("2026/12/22 10:00:00").await;
    contract
        .stage
        .apply(&contract.paid("2002", "2026/12/22 08:00:00"))
        .await;
    let before = contract.notices().await;
    contract
        .stage
        .apply(&contract.refused("2001", "2026/12/21 04:00:00"))
        .await;
    contract
        .expect("active failures=0 grace=- retry=- | pro until 01-22 00:00")
        .await;
    assert_eq!(contract.notices().await, before);
    contract.at("2027/01/20 00:00:00").await;
    assert_eq!(contract.effects("subscription_retry").await, 0);
}

#[tokio::test]
async fn ec_9_a_charge_of_a_wrong_amount_is_a_dispute_and_ends_no_dunning() {
    let contract = Contract::begin().await;
    contract.at("2026/12/21 06:00:00").await;
    contract
        .stage
        .apply(&contract.refused("2001", "2026/12/21 04:00:00"))
        .await;
    let owed = contract.line().await;
    let wrong = Ecpay::period(&contract.order, 299, "2002", "2026/12/21 05:00:00", 2).signed();
    contract.stage.apply(&wrong).await;
    contract.expect(&owed).await;
    assert_eq!(contract.stage.count("disputes amount_mismatch").await, 1);
}

/// ECPay stops a contract after six refusals in a row: no more is asked for, and FREE follows what was paid.
#[tokio::test]
async fn ec_3_six_refused_periods_end_the_contract_and_leave_free() {
    let contract = Contract::begin().await;
    let days = [
        "2026/12/21",
        "2027/01/21",
        "2027/02/21",
        "2027/03/21",
        "2027/04/21",
        "2027/05/21",
    ];
    for (number, day) in days.iter().enumerate() {
        contract.at(&format!("{day} 06:00:00")).await;
        let refused = contract.refused(&format!("200{number}"), &format!("{day} 04:00:00"));
        contract.stage.apply(&refused).await;
    }
    let line = contract.line().await;
    assert!(line.starts_with("ended failures=0 grace=- retry=-"), "{line}");
    assert!(line.ends_with("| free until -"), "{line}");
    let user = contract.stage.user(&contract.user).await;
    assert_eq!(user["auto_renew"], json!(false));
    let asked = contract.effects("subscription_retry").await;
    contract.at("2027/06/22 12:00:00").await;
    assert_eq!(contract.effects("subscription_retry").await, asked);
}

#[tokio::test]
async fn ec_1_refusals_at_the_cashier_are_no_dunning() {
    let contract = Contract::bought(Stage::start().await, "user-1").await;
    for number in 1..=7 {
        let at = format!("2026/11/21 10:0{number}:00");
        let refusal = Ecpay::failed(&contract.order, "10100058", "no", &at)
            .with("TradeNo", &format!("{number}5{}", contract.order));
        contract.stage.apply(&refusal.signed()).await;
    }
    contract
        .expect("pending failures=0 grace=- retry=- | - until -")
        .await;
    contract.at("2026/11/21 10:09:00").await;
    let paid = Ecpay::paid(&contract.order, 300).with("PaymentDate", "2026/11/21 10:08:00");
    contract.stage.apply(&paid.signed()).await;
    contract.expect(PAID).await;
    assert_eq!(contract.steps().await, ["activated"]);
}

/// PM-8: what is owed or rests covers nothing, but its contract would charge beside a second one.
#[tokio::test]
async fn pm_8_a_subscription_that_is_downgraded_is_not_sold_a_second_time() {
    let contract = Contract::begin().await;
    contract.at("2026/12/21 06:00:00").await;
    contract
        .stage
        .apply(&contract.refused("2001", "2026/12/21 04:00:00"))
        .await;
    contract.at("2026/12/29 06:00:00").await;
    assert!(contract.line().await.ends_with("| free until -"));
    let before = contract.stage.tally().await;
    let refused = contract
        .stage
        .checkout(&contract.user, "again", json!({ "planId": "pro-month" }))
        .await;
    assert_eq!((refused.status, refused.problem()), (409, "subscription-running"));
    assert!(refused.body["subscriptionId"].is_string(), "{refused:?}");
    assert_eq!(contract.stage.tally().await, before);
}
