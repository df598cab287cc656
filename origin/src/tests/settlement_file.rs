//! ECPay's settlement file, as the sandbox writes it, compared with the ledger (OP-5).

use std::ops::Range;
use std::time::Duration;

use encoding_rs::BIG5;
use serde_json::{Value, json};
use tollgate_shared::money::Money;
use tollgate_shared::provider::ecpay::do_action::{self, Action};
use tollgate_shared::provider::ecpay::settlement_file::{self, DateType};
use tollgate_shared::time::Timestamp;

use super::counterpart::Counterpart;
use super::stage::taipei;
use crate::clock::Clock as _;
use crate::commands::CommandError;
use crate::commands::reconcile::{Compared, compare_file};

const DAY: Duration = Duration::from_hours(24);
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The file of the days from so many days ago until yesterday.
async fn file(world: &Counterpart, days_back: u32) -> Vec<u8> {
    world.pass(Duration::from_mins(2)).await;
    let day = |back: u32| {
        let ago = DAY_MS * i64::from(back);
        let at = Timestamp::from_unix_ms(world.stage.clock.now().unix_ms() - ago);
        at.to_taipei("%Y-%m-%d").unwrap()
    };
    let ecpay = world.stage.origin.config.sources.ecpay().unwrap();
    let base = &world.stage.settings["ECPAY_BASE_URL"];
    let days = (day(days_back), day(1));
    let request = settlement_file::request(ecpay, base, DateType::Paid, (&days.0, &days.1)).unwrap();
    world.post(&request).await
}

async fn compare(world: &Counterpart, bytes: &[u8], days: Option<Range<Timestamp>>) -> Compared {
    let before = world.stage.tally().await;
    let compared = compare_file(&world.stage.origin, bytes, days).await.unwrap();
    assert_eq!(world.stage.tally().await, before, "nothing is written");
    compared
}

fn labels(compared: &Compared) -> Vec<&str> {
    assert_eq!(compared.summary["differences"], compared.differences.len());
    compared
        .differences
        .iter()
        .map(|line| line["difference"].as_str().unwrap())
        .collect()
}

/// The same file with other words.
fn edited(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let (text, _, broken) = BIG5.decode(bytes);
    assert!(!broken && text.contains(from), "{text}");
    BIG5.encode(&text.replacen(from, to, 1)).0.into_owned()
}

#[tokio::test]
async fn op_5_the_file_and_the_ledger_agree_until_a_charge_is_missing() {
    let world = Counterpart::start().await;
    let bought = world.subscribe("ecpay").await;
    world.after(DAY).await;
    let first = file(&world, 3).await;
    let compared = compare(&world, &first, None).await;
    assert!(compared.differences.is_empty(), "{compared:?}");
    let today = world.stage.clock.now().to_taipei("%Y-%m-%d").unwrap();
    assert_ne!(compared.summary["to"], today);
    for (member, expected) in [
        ("lines", json!(1)),
        ("charges", json!(1)),
        ("charged", json!("300")),
        ("refunded", json!("0")),
        ("fees", json!({ "交易手續費": "6.00", "交易處理費": "1.00" })),
        ("net", json!("293.00")),
    ] {
        assert_eq!(compared.summary[member], expected, "{member}");
    }
    // The second period: charged, and nobody told us yet.
    world.pass(DAY * 31).await;
    let second = file(&world, 5).await;
    let compared = compare(&world, &second, None).await;
    assert_eq!(labels(&compared), ["not_booked"]);
    let told = &compared.differences[0];
    let charged = &world.contract(&bought.order).await["charges"][1];
    assert_eq!(
        (
            &told["tradeNo"],
            &told["chargedThere"],
            &told["chargedHere"],
            &told["line"]
        ),
        (&charged["tradeNo"], &json!(300), &Value::Null, &json!(2))
    );
    assert_eq!(
        told["paymentId"],
        world.row(bought.order.split('/').nth(1).unwrap()).await["payment_id"]
    );
    // Asking finds it, under the number of its authorisation, which is not the file's.
    world.stage.drain().await;
    let compared = compare(&world, &second, None).await;
    assert!(compared.differences.is_empty(), "{compared:?}");
    assert_eq!(world.stage.count("ledger faults").await, 0);
}

#[tokio::test]
async fn op_5_another_amount_a_refund_and_what_the_file_lacks_are_told() {
    let world = Counterpart::start().await;
    let bought = world.subscribe("ecpay").await;
    world.after(DAY * 2).await;
    let whole = file(&world, 4).await;
    let compared = compare(&world, &edited(&whole, "=\"300\"", "=\"301\""), None).await;
    assert_eq!(labels(&compared), ["other_amount"]);
    let told = &compared.differences[0];
    assert_eq!(
        (&told["chargedHere"], &told["chargedThere"]),
        (&json!(300), &json!(301))
    );
    assert_eq!(told["event"], "difference");
    // The header alone, for the days of which we know that there was something.
    let header = whole.split_inclusive(|byte| *byte == b'\n').next().unwrap();
    let now = world.stage.clock.now();
    let days = Timestamp::from_unix_ms(now.unix_ms() - 4 * DAY_MS)..now;
    let compared = compare(&world, header, Some(days)).await;
    assert_eq!(labels(&compared), ["not_in_file"]);
    assert_eq!(compared.differences[0]["line"], Value::Null);
    let row = whole[header.len()..].to_vec();
    let compared = compare(&world, &[&whole[..], &row].concat(), None).await;
    assert_eq!(labels(&compared), ["twice_in_file"]);
    // Paid back in the console, past us.
    let (ecpay, base) = (
        world.stage.origin.config.sources.ecpay().unwrap(),
        &world.stage.settings["ECPAY_BASE_URL"],
    );
    let order = bought.order.split('/').nth(1).unwrap().parse().unwrap();
    let charged = world.contract(&bought.order).await["charges"][0]["tradeNo"].clone();
    let number = charged.as_str().unwrap().parse().unwrap();
    let refund = do_action::request(ecpay, base, (&order, &number), Action::Refund, Money::twd(100));
    assert!(
        String::from_utf8(world.post(&refund.unwrap()).await)
            .unwrap()
            .contains("RtnCode=1")
    );
    let refunded = file(&world, 4).await;
    let compared = compare(&world, &refunded, None).await;
    assert_eq!(labels(&compared), ["other_refund"]);
    let told = &compared.differences[0];
    assert_eq!(
        (&told["refundedHere"], &told["refundedThere"]),
        (&json!(0), &json!(100))
    );
    assert_eq!(compared.summary["refunded"], "100");
}

#[tokio::test]
async fn op_5_what_the_ledger_lacks_is_told_even_if_the_charge_has_a_row() {
    let world = Counterpart::start().await;
    world.subscribe("ecpay").await;
    world.after(DAY).await;
    let whole = file(&world, 3).await;
    let sql = "update tollgate.ledger_transaction set operation_key = 'settle:lost' where operation_key like 'settle:ecpay:%'";
    assert_eq!(world.stage.admin.execute(sql, &[]).await.unwrap(), 1);
    let compared = compare(&world, &whole, None).await;
    assert_eq!(labels(&compared), ["other_amount"]);
    assert_eq!(compared.differences[0]["chargedHere"], 0);
}

#[tokio::test]
async fn op_5_a_file_that_is_none_or_not_ours_is_refused_with_the_line_and_nothing_is_written() {
    let world = Counterpart::start().await;
    let bought = world.subscribe("ecpay").await;
    world.after(DAY).await;
    let whole = file(&world, 3).await;
    let order = bought.order.split('/').nth(1).unwrap();
    let before = world.stage.tally().await;
    let refused = async |bytes: &[u8], days: Option<Range<Timestamp>>| match compare_file(
        &world.stage.origin,
        bytes,
        days,
    )
    .await
    {
        Err(CommandError::SettlementFile(refusal)) => refusal.to_string(),
        other => panic!("{other:?}"),
    };
    let cut = &whole[..whole.len() - 40];
    let header = whole.split_inclusive(|byte| *byte == b'\n').next().unwrap();
    let (text, _, _) = BIG5.decode(&whole);
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let last_year = taipei("2025/01/01 00:00:00")..taipei("2025/02/01 00:00:00");
    for (bytes, days, expected) in [
        (
            b"\x89PNG\r\n\x1a\n\xff\xfe".to_vec(),
            None,
            "not a settlement file",
        ),
        (utf16, None, "not a settlement file"),
        ("0|一分鐘內僅能下載一個檔案".into(), None, "not a settlement file"),
        (
            edited(&whole, "綠界訂單編號", "綠界"),
            None,
            "the header has no column 綠界訂單編號",
        ),
        (cut.to_vec(), None, "line 2"),
        (
            edited(&whole, "=\"300\"", "=\"3OO\""),
            None,
            "line 2, column 交易金額: \"3OO\"",
        ),
        (
            edited(&whole, order, "STRANGE1"),
            None,
            "line 2: order STRANGE1 is not known here",
        ),
        (whole.clone(), Some(last_year), "line 2 was paid on "),
        (header.to_vec(), None, "line 2 tells no day of payment"),
    ] {
        let told = refused(&bytes, days).await;
        assert!(told.starts_with(expected), "{expected}: {told}");
    }
    assert_eq!(world.stage.tally().await, before);
    let sql = "update tollgate.payments set merchant_id = '2000132'";
    world.stage.admin.execute(sql, &[]).await.unwrap();
    let told = refused(&whole, None).await;
    assert!(
        told.contains("was placed at shop 2000132, and the file should be of shop 3002607"),
        "{told}"
    );
}
