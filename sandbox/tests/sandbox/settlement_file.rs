//! ECPay's settlement file: Big5, `="value"` cells, one a minute, never today (OP-5).

use serde_json::json;

use crate::calendar::{common_year, go_to};
use crate::stage::{Fields, Stage, encode, fields, signed, with, without};

fn question(first: &str, last: &str) -> Fields {
    fields(&[
        ("MerchantID", "3002607"),
        ("DateType", "2"),
        ("BeginDate", first),
        ("EndDate", last),
        ("MediaFormated", "1"),
    ])
}

/// The file as text; its rows, each as its cells, the header first.
async fn rows(stage: &Stage, question: Fields) -> Vec<Vec<String>> {
    let bytes = bytes(stage, question).await;
    let (text, _, broken) = encoding_rs::BIG5.decode(&bytes);
    assert!(!broken, "not Big5");
    let cells = |line: &str| {
        let cells = line
            .split(',')
            .map(|cell| cell.strip_prefix("=\"").unwrap().strip_suffix('"').unwrap());
        cells.map(str::to_owned).collect()
    };
    text.lines().map(cells).collect()
}

async fn bytes(stage: &Stage, question: Fields) -> Vec<u8> {
    let url = format!("{}/ecpay/PaymentMedia/TradeNoAio", stage.sandbox.base_url());
    let request = stage
        .http
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded");
    let response = request.body(encode(&signed(question))).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.bytes().await.unwrap().to_vec()
}

async fn is_refused(stage: &Stage, question: Fields) -> bool {
    stage.advance(60).await;
    bytes(stage, question).await.starts_with(b"0|")
}

#[tokio::test]
async fn op_5_the_file_has_a_line_for_every_charge_until_yesterday() {
    let stage = Stage::ecpay().await;
    let year = common_year(&stage).await;
    go_to(&stage, &format!("{year}-01-31 15:00")).await;
    stage.open(stage.periodic_order("SF1")).await;
    stage.act("ecpay/SF1", "pay", json!({})).await;
    stage
        .open(with(stage.order("SF2"), &[("TotalAmount", "1050")]))
        .await;
    stage.act("ecpay/SF2", "pay", json!({})).await;
    stage.open(stage.order("SF3")).await;
    let (first, last) = (format!("{year}-01-30"), format!("{year}-03-01"));
    assert_eq!(
        rows(&stage, question(&first, &last)).await.len(),
        1,
        "today is not in it"
    );
    go_to(&stage, &format!("{year}-03-02 09:00")).await;
    let rows = rows(&stage, question(&first, &last)).await;
    assert_eq!((rows.len(), rows[0].len()), (4, 13));
    let column = |name: &str| rows[0].iter().position(|known| known == name).unwrap();
    let of = |row: usize, name: &str| rows[row][column(name)].as_str();
    let view = stage.get("/control/v1/contracts/ecpay/SF1").await.json();
    assert_eq!(of(1, "廠商訂單編號"), "SF1");
    assert_eq!(of(3, "綠界訂單編號"), view["charges"][1]["tradeNo"]);
    assert_eq!(of(3, "付款日期"), format!("{year}/02/28 06:00:00"));
    assert_eq!(
        ["交易金額", "交易手續費", "交易處理費", "應收款項(淨額)"].map(|name| of(2, name)),
        ["1050", "21", "1", "1028"]
    );
}

#[tokio::test]
async fn op_5_one_file_a_minute_and_a_refusal_starts_the_minute_anew() {
    let stage = Stage::ecpay().await;
    let question = question("2026-01-01", "2026-01-31");
    assert!(bytes(&stage, question.clone()).await.starts_with(b"=\""));
    assert!(bytes(&stage, question.clone()).await.starts_with(b"0|"));
    stage.advance(59).await;
    assert!(bytes(&stage, question.clone()).await.starts_with(b"0|"));
    stage.advance(60).await;
    assert!(bytes(&stage, question).await.starts_with(b"=\""));
}

#[tokio::test]
async fn what_is_not_in_the_rules_is_no_file() {
    let stage = Stage::ecpay().await;
    let good = question("2026-01-01", "2026-01-31");
    for change in [
        ("DateType", "1"),
        ("BeginDate", "2026/01/01"),
        ("BeginDate", "2025-12-31"),
        ("EndDate", "2025-12-31"),
        ("MediaFormated", ""),
        ("PaymentType", "99"),
        ("PaymentStatus", "3"),
        ("Colour", "red"),
    ] {
        assert!(
            is_refused(&stage, with(good.clone(), &[change])).await,
            "{change:?}"
        );
    }
    assert!(is_refused(&stage, without(good.clone(), "EndDate")).await);
    assert!(!is_refused(&stage, good).await);
}
