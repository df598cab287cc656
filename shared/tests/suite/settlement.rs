//! ECPay's settlement file: how it is asked for, and every way in which it may be written (OP-5).

use encoding_rs::BIG5;
use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};
use tollgate_shared::money::Minor;
use tollgate_shared::provider::CheckoutError;
use tollgate_shared::provider::ecpay::settlement_file::{
    self, DateType, SettlementError, SettlementLine, read, request,
};

use crate::fixtures::ecpay;

/// The names of the first twelve are documented or seen elsewhere; the thirteenth is in no document.
const HEADER: [&str; 13] = [
    "訂單日期",
    "廠商訂單編號",
    "綠界訂單編號",
    "付款方式",
    "付款日期",
    "付款狀態",
    "交易金額",
    "退款日期",
    "退款金額",
    "交易手續費",
    "應收款項(淨額)",
    "撥款狀態",
    "交易處理費",
];

const PAID: [&str; 13] = [
    "2026/11/01 09:30:00",
    "T2026110100001",
    "20261101093000502143",
    "信用卡",
    "2026/11/01 09:31:02",
    "已付款",
    "1,300",
    "",
    "0",
    "28.6",
    "1270.4",
    "未撥款",
    "1",
];

fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells
        .iter()
        .map(|cell| format!("=\"{}\"", cell.replace('"', "\"\"")))
        .collect();
    cells.join(",") + "\r\n"
}

fn big5(text: &str) -> Vec<u8> {
    let (bytes, _, lossy) = BIG5.encode(text);
    assert!(!lossy, "{text}");
    bytes.into_owned()
}

fn file(rows: &[&[&str]]) -> Vec<u8> {
    big5(
        &[row(&HEADER)]
            .into_iter()
            .chain(rows.iter().map(|cells| row(cells)))
            .collect::<String>(),
    )
}

/// The paid line with another cell in one column.
fn with(name: &str, cell: &'static str) -> [&'static str; 13] {
    let place = HEADER.iter().position(|known| *known == name).unwrap();
    let mut cells = PAID;
    cells[place] = cell;
    cells
}

fn only(bytes: &[u8]) -> SettlementLine {
    let mut lines = read(bytes).unwrap();
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

#[test]
fn op_5_the_file_is_asked_for_by_days() {
    let base = "https://vendor-stage.ecpay.com.tw/";
    let asked = request(&ecpay(), base, DateType::Paid, ("2026-11-01", "2026-11-30")).unwrap();
    assert_eq!(
        asked.url,
        "https://vendor-stage.ecpay.com.tw/PaymentMedia/TradeNoAio"
    );
    let fields: Vec<String> = asked
        .fields
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        fields[..5].join("&"),
        "MerchantID=3002607&DateType=2&BeginDate=2026-11-01&EndDate=2026-11-30&MediaFormated=1"
    );
    assert!(
        fields[5].starts_with("CheckMacValue=") && fields.len() == 6,
        "{fields:?}"
    );
    let days = |first, last| request(&ecpay(), base, DateType::Ordered, (first, last));
    assert!(days("2026-10-01", "2026-10-31").is_ok());
    assert!(days("2026-10-01", "2026-10-01").is_ok());
    for (first, last) in [("2026-10-01", "2026-11-01"), ("2026-10-02", "2026-10-01")] {
        assert!(
            matches!(days(first, last), Err(CheckoutError::OutOfRange { .. })),
            "{first} {last}"
        );
    }
    for bad in ["2026-02-30", "2026/10/01", "20261001", "2026-10-1", ""] {
        assert!(
            matches!(days(bad, "2026-10-01"), Err(CheckoutError::NotADate { .. })),
            "{bad}"
        );
    }
}

#[test]
fn op_5_a_settlement_file_is_read() {
    let line = only(&file(&[&PAID]));
    assert_eq!((line.line, line.order.as_str()), (2, "T2026110100001"));
    assert_eq!(
        line.trade_no.as_str(),
        "20261101093000502143",
        "more digits than a u64 holds"
    );
    assert_eq!(line.money.to_string(), "TWD 1300");
    assert_eq!(
        line.fees_hundredths.clone().into_iter().collect::<Vec<_>>(),
        [("交易手續費", 2860), ("交易處理費", 100)]
    );
    assert_eq!(
        (line.fee_hundredths(), line.net_hundredths),
        (Some(2960), Some(127_040))
    );
    assert_eq!(
        (line.status.as_deref(), line.payout_status.as_deref()),
        (Some("已付款"), Some("未撥款"))
    );
    assert_eq!(line.paid_at.unwrap().to_string(), "2026-11-01T01:31:02Z");
    assert_eq!((line.refunded.unwrap().get(), line.refunded_at), (0, None));
    assert_eq!(read(&file(&[])), Ok(vec![]));
}

#[test]
fn op_5_columns_are_found_by_name_and_cells_in_every_writing() {
    // Another order, other names, fewer columns, one that nobody knows; plain, quoted and `=` cells; LF; UTF-8 with a mark.
    let text = "\u{feff}特店交易編號,備註,\"交易金額\",=\"綠界交易編號\"\n\
                T1,,300,=26110109\n\n\
                =\"T2\",\"a, \"\"b\"\"\nc\",\"1,300.00\",=\"26110110\"\r\n\
                T3,x,=0,26110111";
    let lines = read(text.as_bytes()).unwrap();
    let told: Vec<_> = lines
        .iter()
        .map(|line| format!("{} {} {} {}", line.line, line.order, line.trade_no, line.money))
        .collect();
    assert_eq!(
        told,
        [
            "2 T1 26110109 TWD 300",
            "4 T2 26110110 TWD 1300",
            "6 T3 26110111 TWD 0"
        ]
    );
    assert_eq!((lines[0].fee_hundredths(), lines[0].net_hundredths), (None, None));
    // A file without paid dates begins the status with one.
    let text = "廠商訂單編號,綠界訂單編號,付款狀態,交易金額\n=\"T1\",=17,\"2026-11-01 09:31:02 已付款\",=300\nT2,18,已付款,300";
    let paid_at = read(text.as_bytes())
        .unwrap()
        .into_iter()
        .map(|line| line.paid_at.map(|at| at.to_string()));
    assert_eq!(
        paid_at.collect::<Vec<_>>(),
        [Some("2026-11-01T01:31:02Z".to_owned()), None]
    );
    // A remark of characters that Big5 lacks spoils only itself.
    let mut bytes = big5("廠商訂單編號,廠商備註,綠界訂單編號,交易金額\r\n=\"T1\",=\"");
    bytes.extend([0xff, 0x80, 0xa4]);
    bytes.extend(b"\",=\"17\",=\"300\"\r\n");
    assert_eq!(only(&bytes).trade_no.as_str(), "17");
}

#[test]
fn op_5_errors_name_line_and_column() {
    for (name, cell) in [
        ("交易金額", ""),
        ("交易金額", "300.5"),
        ("交易金額", "-300"),
        ("交易金額", "13,00"),
        ("交易金額", "NT$300"),
        ("交易金額", "９"),
        ("廠商訂單編號", ""),
        ("廠商訂單編號", "T 1"),
        ("綠界訂單編號", "-"),
        ("付款日期", "昨天"),
        ("付款日期", "2026/02/30 00:00:00"),
        ("交易處理費", "1.234"),
        ("交易處理費", "1."),
        ("應收款項(淨額)", "1e3"),
        ("應收款項(淨額)", "--1"),
        ("退款金額", "99999999999999999999"),
        ("退款金額", "-1"),
    ] {
        let refused = read(&file(&[&PAID, &with(name, cell)]));
        let column = HEADER.iter().find(|known| **known == name).unwrap();
        let expected = SettlementError::Cell {
            line: 3,
            column,
            cell: cell.trim().to_owned(),
        };
        assert_eq!(refused, Err(expected), "{name} {cell:?}");
    }
    let net = only(&file(&[&with("應收款項(淨額)", "-1270.45")]));
    assert_eq!(net.net_hundredths, Some(-127_045));
    let day = only(&file(&[&with("退款日期", "2026-11-02")]));
    assert_eq!(day.refunded_at.unwrap().to_string(), "2026-11-01T16:00:00Z");
}

#[test]
fn op_5_no_refund_is_not_the_same_as_no_column_of_refunds() {
    let refunded = |cell| only(&file(&[&with("退款金額", cell)])).refunded.map(Minor::get);
    assert_eq!(
        [refunded(""), refunded("0"), refunded("1,300")],
        [Some(0), Some(0), Some(1300)]
    );
    let bare = "廠商訂單編號,綠界訂單編號,交易金額\r\nT1,17,300";
    assert_eq!(only(bare.as_bytes()).refunded, None);
}

#[test]
fn op_5_a_line_without_money_says_so() {
    for (status, expected) in [
        ("已付款", true),
        ("2026-11-01 09:31:02 已付款", true),
        ("", true),
        ("已退款", true),
        ("未付款", false),
        ("付款失敗", false),
    ] {
        let line = only(&file(&[&with("付款狀態", status)]));
        assert_eq!(line.is_paid(), expected, "{status}");
    }
}

#[test]
fn op_5_what_is_no_settlement_file_is_refused() {
    let refusal = |text: &str| read(&big5(text)).unwrap_err();
    for text in ["", "0|Parameter Error", "<html lang=\"zh\">請稍後再試</html>"] {
        assert_eq!(refusal(text), SettlementError::NotAFile(text.to_owned()));
    }
    assert_eq!(
        refusal("交易金額,綠界訂單編號\r\n1,2"),
        SettlementError::MissingColumn("廠商訂單編號")
    );
    assert_eq!(
        refusal("交易金額,廠商訂單編號\r\n"),
        SettlementError::MissingColumn("綠界訂單編號")
    );
    let twice = "交易金額,廠商訂單編號,特店訂單編號,綠界訂單編號\r\n";
    assert_eq!(refusal(twice), SettlementError::ColumnTwice("廠商訂單編號"));
    let head = "交易金額,廠商訂單編號,綠界訂單編號\r\n";
    assert_eq!(
        refusal(&format!("{head}1,2")),
        SettlementError::Length {
            line: 2,
            found: 2,
            expected: 3
        }
    );
    for (rest, line, column) in [
        ("1,2\"x\",3", 2, 2),
        ("1,2,=\"3", 2, 3),
        ("1,2,3\r\n1,=\"2\"x,3", 3, 2),
    ] {
        let refused = refusal(&format!("{head}{rest}"));
        assert_eq!(refused, SettlementError::Quotes { line, column }, "{rest}");
    }
}

fn cell() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec!['a', '"', ',', '\n', '=', ' ', '備', '\\', '許', '功']),
        0..8,
    )
    .prop_map(|characters| characters.into_iter().collect())
}

proptest! {
    #[test]
    fn op_5_what_is_written_in_a_remark_spoils_no_other_cell(remarks in prop::collection::vec(cell(), 1..6), utf8 in any::<bool>()) {
        // 許 and 功 end with a backslash byte in Big5, which must not be taken for one.
        let rows = remarks.iter().enumerate().map(|(index, remark)| {
            row(&[&format!("T{index}"), remark, &format!("26{index}"), "300"])
        });
        let text: String = std::iter::once(row(&["廠商訂單編號", "廠商備註", "綠界訂單編號", "交易金額"])).chain(rows).collect();
        let lines = read(&if utf8 { text.into_bytes() } else { big5(&text) }).unwrap();
        prop_assert_eq!(lines.len(), remarks.len());
        for (index, line) in lines.iter().enumerate() {
            prop_assert_eq!(line.order.as_str(), format!("T{index}"));
            prop_assert_eq!(line.money.amount_minor.get(), 300);
        }
    }

    #[test]
    fn op_5_no_bytes_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(settlement_file::read(&bytes));
        drop(settlement_file::read(&[&file(&[]), &bytes[..]].concat()));
    }
}
