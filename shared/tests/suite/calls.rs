//! Calls that change something at a provider, and the typed answers of PAYUNi's queries (EC-2, PU-5, PU-6, OP-5).

use tollgate_shared::form::Form;
use tollgate_shared::money::{Currency, Minor, Money};
use tollgate_shared::provider::ecpay::do_action::{self, Action, DoActionReply};
use tollgate_shared::provider::payuni::cipher;
use tollgate_shared::provider::payuni::period_calls::{self, PeriodChange, PeriodChangeReply};
use tollgate_shared::provider::payuni::reply::{CallReply, ReplyError};
use tollgate_shared::provider::payuni::trade_calls::{self, Close, CloseStatus, RefundStatus, TradeStatus};
use tollgate_shared::provider::{CheckoutError, Refusal, ServerRequest};

use crate::fixtures::{
    NOW, PAYUNI_IV, PAYUNI_KEY, ecpay, ecpay_answer, pairs, payuni, payuni_reply, vectors,
};

pub(crate) const BASE: &str = "https://x.example/";
const PAYUNI: &str = include_str!("../vectors/payuni.json");

pub(crate) fn twd(amount: i64) -> Money {
    Money {
        amount_minor: Minor::new(amount),
        currency: Currency::Twd,
    }
}

fn field<'a>(request: &'a ServerRequest, name: &str) -> &'a str {
    let found = request.fields.iter().find(|(known, _)| known == name);
    &found.unwrap_or_else(|| panic!("{name}: {request:?}")).1
}

/// The path, the version and the sealed fields of a PAYUNi request, as one text.
pub(crate) fn opened(request: &ServerRequest) -> String {
    let inner = cipher::open(field(request, "EncryptInfo"), PAYUNI_KEY, PAYUNI_IV).unwrap();
    let form = Form::parse(&inner).unwrap();
    let fields: Vec<String> = form
        .fields()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let path = request.url.strip_prefix("https://x.example").unwrap();
    format!("{path} {} {}", field(request, "Version"), fields.join("&"))
}

#[test]
fn ec_2_ecpay_charges_are_captured_refunded_and_abandoned() {
    let (order, trade_no) = (
        "T2026110100001".parse().unwrap(),
        "20220125143728502143".parse().unwrap(),
    );
    for (action, code) in [
        (Action::Capture, "C"),
        (Action::Refund, "R"),
        (Action::CancelCapture, "E"),
        (Action::Abandon, "N"),
    ] {
        let request = do_action::request(&ecpay(), BASE, (&order, &trade_no), action, twd(120)).unwrap();
        assert_eq!(request.url, "https://x.example/CreditDetail/DoAction");
        assert_eq!(field(&request, "Action"), code);
        assert_eq!(field(&request, "TotalAmount"), "120");
        assert_eq!(field(&request, "TradeNo"), "20220125143728502143");
        assert_eq!(field(&request, "CheckMacValue").len(), 64);
    }
    for amount in [0, -1] {
        let refused = do_action::request(&ecpay(), BASE, (&order, &trade_no), Action::Refund, twd(amount));
        assert!(matches!(refused, Err(CheckoutError::AmountOutOfRange { .. })));
    }
}

#[test]
fn ec_2_ecpay_do_action_is_read_in_every_form_it_is_said_to_have() {
    let order = "T2026110100001".parse().unwrap();
    let fields = pairs(&[
        ("MerchantID", "3002607"),
        ("MerchantTradeNo", "T2026110100001"),
        ("RtnCode", "1"),
        ("RtnMsg", "成功 ok"),
        ("TradeNo", "2611010930001234"),
    ]);
    let signed = ecpay_answer(&fields);
    let text = String::from_utf8(signed.clone()).unwrap();
    let refused = |code: &str, message: &str| DoActionReply::Refused {
        code: code.to_owned(),
        message: message.to_owned(),
    };
    let encoded = tollgate_shared::form::encode(Form::parse_raw(&signed).unwrap().fields());
    for (body, expected) in [
        ("1|OK", DoActionReply::Done),
        ("1|OK\r\n", DoActionReply::Done),
        ("0|error_nopay", refused("0", "error_nopay")),
        (&text, DoActionReply::Done),
        (&encoded, DoActionReply::Done),
        (
            "MerchantID=&MerchantTradeNo=&RtnCode=10200083&RtnMsg=",
            refused("10200083", ""),
        ),
        ("RtnCode=1&RtnMsg=a|b", DoActionReply::Done),
    ] {
        assert_eq!(
            do_action::reply(&ecpay(), &order, body.as_bytes()),
            Ok(expected),
            "{body}"
        );
    }
    for body in [
        text.replace("RtnCode=1", "RtnCode=2"),
        text.replace("3002607", "3002608"),
        "RtnCode=1&MerchantTradeNo=T2".to_owned(),
        "RtnCode=1&MerchantID=3002608".to_owned(),
        "RtnMsg=1".to_owned(),
        "one|OK".to_owned(),
        "<html>".to_owned(),
        String::new(),
    ] {
        assert!(
            do_action::reply(&ecpay(), &order, body.as_bytes()).is_err(),
            "{body}"
        );
    }
}

#[test]
fn pu_6_payuni_period_orders_are_changed() {
    let contract = "20260901112904KatPrd".parse().unwrap();
    for (change, expected) in [
        (PeriodChange::Suspend, "ReviseTradeStatus=suspend"),
        (PeriodChange::Restart, "ReviseTradeStatus=restart"),
        (PeriodChange::End, "ReviseTradeStatus=end"),
        (
            PeriodChange::Reauth { period: 7 },
            "ReviseTradeStatus=reauth&PeriodOrderNo=7",
        ),
    ] {
        let request = period_calls::change_request(&payuni(), BASE, &contract, change).unwrap();
        let head = "/api/period/mdfStatus 1.0 MerID=KAT0001&PeriodTradeNo=20260901112904KatPrd&";
        assert_eq!(opened(&request), format!("{head}{expected}"));
    }
    let request = period_calls::card_change_request(&payuni(), BASE, &contract).unwrap();
    assert_eq!(
        opened(&request),
        "/api/period/exchange 1.0 MerID=KAT0001&PeriodTradeNo=20260901112904KatPrd&APIType=1"
    );
}

#[test]
fn pu_6_payuni_says_what_became_of_a_change() {
    let reply = |json: &str| period_calls::change_reply(&payuni(), json.as_bytes());
    let done = |trade_no: Option<&str>, period: Option<&str>| PeriodChangeReply::Done {
        trade_no: trade_no.map(|number| number.parse().unwrap()),
        period_order_no: period.map(str::to_owned),
    };
    for (inner, expected) in [
        ("Status=SUCCESS&Message=ok&PeriodTradeNo=P1", done(None, None)),
        ("Status=SUCCESS&TradeNo=-&PeriodOrderNo=", done(None, None)),
        (
            "Status=SUCCESS&TradeNo=17&PeriodOrderNo=A_7",
            done(Some("17"), Some("A_7")),
        ),
        ("Status=UNKNOWN", PeriodChangeReply::Undecided),
        ("Status=PMDF02013&Message=x", PeriodChangeReply::AlreadyEnded),
        ("Status=PMDF02018", PeriodChangeReply::NotFound),
        (
            "Status=CREDIT04012&Message=%E9%A4%98%E9%A1%8D%E4%B8%8D%E8%B6%B3",
            PeriodChangeReply::Refused {
                code: "CREDIT04012".into(),
                message: "餘額不足".into(),
            },
        ),
    ] {
        assert_eq!(reply(&payuni_reply(inner, None)), Ok(expected), "{inner}");
    }
    // A refusal may come unsealed; a success may not.
    assert_eq!(
        reply(r#"{"Status":"PMDF02013"}"#),
        Ok(PeriodChangeReply::AlreadyEnded)
    );
    for bad in [r#"{"Status":"SUCCESS"}"#, r#"{"Status":""}"#, "{}"] {
        assert!(matches!(reply(bad), Err(ReplyError::Refused { .. })), "{bad}");
    }
    assert_eq!(reply("<!doctype html>"), Err(ReplyError::NotAReply));
    let forged = payuni_reply("Status=SUCCESS", Some(&"0".repeat(64)));
    assert!(matches!(reply(&forged), Err(ReplyError::Envelope(_))));
}

#[test]
fn pu_5_payuni_schedules_are_read() {
    let vector = vectors(PAYUNI, 18)
        .into_iter()
        .find(|vector| vector["name"] == "payuni_php_sdk_period_query_reply_nested")
        .unwrap();
    let plaintext = vector["expected"]["plaintext"].as_str().unwrap();
    let schedule = period_calls::schedule(&payuni(), payuni_reply(plaintext, None).as_bytes()).unwrap();
    assert_eq!(schedule.order.as_str(), "SUB-20260901-0001");
    assert_eq!(schedule.period_trade_no.as_str(), "20260901112904KatPrd");
    assert_eq!((schedule.total, schedule.already), (Some(12), Some(1)));
    let [first, second] = &schedule.periods[..] else {
        panic!("{schedule:?}")
    };
    assert_eq!(first.charge.as_ref().unwrap().as_str(), "1756691969756516957");
    assert_eq!(
        first.period_order_number.as_ref().unwrap().as_str(),
        "SUB-20260901-0001_1"
    );
    assert_eq!((first.waiting, first.failed), (false, false));
    assert_eq!(second.expected_at.unwrap().to_string(), "2026-10-30T16:00:00Z");
    assert_eq!((second.number, second.amount), (2, Minor::new(299)));
    assert_eq!(
        (&second.charge, second.waiting, second.failed),
        (&None, true, false)
    );
}

/// What a row of a schedule tells: charged, waiting, failed.
#[test]
fn pu_5_only_a_try_that_did_not_succeed_is_a_failure() {
    let told = |row: &str| {
        let inner = format!("Status=SUCCESS&MerTradeNo=A1&PeriodTradeNo=P1&{row}");
        let schedule = period_calls::schedule(&payuni(), payuni_reply(&inner, None).as_bytes()).unwrap();
        let period = &schedule.periods[0];
        (period.charge.is_some(), period.waiting, period.failed)
    };
    let row = |trade_no: &str, auth_code: &str, words: &str| {
        told(&format!(
            "Result[0][Period]=2&Result[0][Amt]=299&Result[0][TradeNo]={trade_no}\
             &Result[0][AuthCode]={auth_code}&Result[0][StatusDesc]={words}"
        ))
    };
    assert_eq!(row("17", "000000", "授權完成"), (true, false, false));
    assert_eq!(row("-", "", "排程中"), (false, true, false));
    assert_eq!(row("17", "", "排程中"), (false, true, false), "to be tried again");
    assert_eq!(row("17", "", "授權失敗"), (false, false, true));
    assert_eq!(row("-", "", "授權失敗"), (false, false, true));
    assert_eq!(row("17", "", "?"), (false, false, true));
    assert_eq!(row("17", "", "授權中"), (false, false, false), "under way");
    for words in ["暫停", "終止", "已取消", ""] {
        assert_eq!(row("-", "", words), (false, false, false), "{words}");
    }
    assert_eq!(
        row("-", "000000", "授權完成"),
        (false, false, false),
        "no number, no money"
    );
}

#[test]
fn pu_5_schedules_of_another_shape_are_refused() {
    for inner in [
        "Status=SUCCESS&PeriodTradeNo=P1",
        "Status=SUCCESS&MerTradeNo=A1",
        "Status=SUCCESS&MerTradeNo=A1&PeriodTradeNo=P1&Result[0][Period]=x&Result[0][Amt]=1",
        "Status=SUCCESS&MerTradeNo=A1&PeriodTradeNo=P1&Result[0][Period]=1&Result[0][Amt]=1.5",
    ] {
        let read = period_calls::schedule(&payuni(), payuni_reply(inner, None).as_bytes());
        assert!(
            matches!(read, Err(ReplyError::Fields(Refusal::Field(_)))),
            "{read:?}"
        );
    }
    let refused = period_calls::schedule(&payuni(), payuni_reply("Status=PMDF02006", None).as_bytes());
    assert!(matches!(refused, Err(ReplyError::Refused { .. })), "{refused:?}");
}

#[test]
fn pu_5_the_page_for_a_new_card_is_found_wherever_its_link_is() {
    let page = |inner: &str| period_calls::card_change_page(&payuni(), payuni_reply(inner, None).as_bytes());
    let link = "https://sandbox-api.payuni.com.tw/api/period/exchange/x?y=1";
    let encoded = "https%3A%2F%2Fsandbox-api.payuni.com.tw%2Fapi%2Fperiod%2Fexchange%2Fx%3Fy%3D1";
    for name in ["URL", "Link", "Result[0][URL]"] {
        let found = page(&format!("Status=SUCCESS&{name}={encoded}")).unwrap();
        assert_eq!(found.url.as_deref(), Some(link), "{name}");
    }
    let none = page("Status=SUCCESS&Other=ftp%3A%2F%2Fx&Note=see+https%3A%2F%2Fx").unwrap();
    assert_eq!((none.url, none.fields.len()), (None, 3));
    assert!(page("Status=PMDF02018").is_err());
}

#[test]
fn op_5_payuni_charges_are_asked_for_and_given_back() {
    let trade_no = "1756691969756516958".parse().unwrap();
    let request = trade_calls::query_charge_request(&payuni(), BASE, &trade_no, NOW).unwrap();
    let stamp = "Timestamp=1793500000";
    assert_eq!(
        opened(&request),
        format!("/api/trade/query 2.0 MerID=KAT0001&TradeNo=1756691969756516958&{stamp}")
    );
    for (close, expected) in [
        (Close::Capture(twd(1500)), "CloseType=1&TradeAmt=1500"),
        (Close::Refund(twd(500)), "CloseType=2&TradeAmt=500"),
        (Close::UndoCapture, "CloseType=-1"),
        (Close::UndoRefund, "CloseType=-2"),
    ] {
        let request = trade_calls::close_request(&payuni(), BASE, &trade_no, close, NOW).unwrap();
        let head = "/api/trade/close 1.0 MerID=KAT0001&TradeNo=1756691969756516958&";
        assert_eq!(opened(&request), format!("{head}{expected}&{stamp}"));
    }
    let nothing = trade_calls::close_request(&payuni(), BASE, &trade_no, Close::Refund(twd(0)), NOW);
    assert!(matches!(nothing, Err(CheckoutError::AmountOutOfRange { .. })));
    let request = trade_calls::cancel_request(&payuni(), BASE, &trade_no, NOW).unwrap();
    assert_eq!(
        opened(&request),
        format!("/api/trade/cancel 1.0 MerID=KAT0001&TradeNo=1756691969756516958&{stamp}")
    );
    for reply in [trade_calls::close_reply, trade_calls::cancel_reply] {
        let told = |inner: &str| reply(&payuni(), payuni_reply(inner, None).as_bytes());
        assert_eq!(told("Status=SUCCESS&Message=ok"), Ok(CallReply::Done));
        for code in ["UNKNOWN", "API00009", "CLOSE00000"] {
            let undecided = CallReply::Undecided { code: code.into() };
            assert_eq!(told(&format!("Status={code}")), Ok(undecided));
        }
        assert!(matches!(
            told("Status=CLOSE02010&Message=no"),
            Ok(CallReply::Refused { .. })
        ));
        assert!(
            reply(&payuni(), br#"{"Status":"SUCCESS"}"#).is_err(),
            "an unsealed success is none"
        );
    }
}

#[test]
fn op_5_payuni_trades_are_read_row_by_row() {
    use TradeStatus::{AwaitingReview, Canceled, CodeIssued, Expired, Failed, Unpaid};
    let rows = "Status=SUCCESS&Result[0][MerTradeNo]=A1&Result[0][TradeNo]=17&Result[0][TradeAmt]=1500\
                &Result[0][TradeStatus]=1&Result[0][CloseStatus]=2&Result[0][CloseAmt]=1500&Result[0][RefundStatus]=8\
                &Result[0][RefundAmt]=500&Result[0][RemainAmt]=1000&Result[0][TradeFee]=30\
                &Result[0][PaymentDay]=2026-09-01+11:29:29&Result[0][DataSource]=A\
                &Result[1][MerTradeNo]=A1&Result[1][TradeNo]=-&Result[1][TradeAmt]=1500&Result[1][TradeStatus]=77\
                &Result[1][CloseStatus]=77&Result[1][DataSource]=B";
    let trades = trade_calls::trades(&payuni(), payuni_reply(rows, None).as_bytes()).unwrap();
    let [first, second] = &trades[..] else {
        panic!("{trades:?}")
    };
    assert_eq!((&first.status, first.complete), (&TradeStatus::Paid, true));
    assert_eq!(
        (&first.close, &first.refund),
        (&Some(CloseStatus::Captured), &Some(RefundStatus::Processing))
    );
    let amounts = [
        first.close_amount,
        first.refund_amount,
        first.remaining_amount,
        first.fee,
    ];
    assert_eq!(amounts.map(|amount| amount.unwrap().get()), [1500, 500, 1000, 30]);
    assert_eq!(first.paid_at.unwrap().to_string(), "2026-09-01T03:29:29Z");
    assert_eq!((second.trade_no.clone(), second.complete), (None, false));
    assert_eq!(second.status, TradeStatus::Other("77".into()));
    assert_eq!(second.close, Some(CloseStatus::Other("77".into())));
    let codes = ["0", "2", "3", "4", "8", "9"].map(|code| {
        let rows = format!(
            "Status=SUCCESS&Result[0][MerTradeNo]=A1&Result[0][TradeAmt]=1&Result[0][TradeStatus]={code}"
        );
        trade_calls::trades(&payuni(), payuni_reply(&rows, None).as_bytes())
            .unwrap()
            .remove(0)
            .status
    });
    assert_eq!(
        codes,
        [CodeIssued, Failed, Canceled, Expired, AwaitingReview, Unpaid]
    );
    for (refusal, unknown) in [
        (r#"{"Status":"QUERY03001"}"#.to_owned(), true),
        (payuni_reply("Status=QUERY03001&Message=x", None), true),
        (r#"{"Status":"API00009"}"#.to_owned(), false),
        (r#"{"Status":"QUERY02009"}"#.to_owned(), false),
        ("<html>".to_owned(), false),
    ] {
        let error = trade_calls::trades(&payuni(), refusal.as_bytes()).unwrap_err();
        assert_eq!(trade_calls::is_unknown_trade(&error), unknown, "{refusal}");
    }
    let missing = payuni_reply(
        "Status=SUCCESS&Result[0][MerTradeNo]=A1&Result[0][TradeAmt]=1",
        None,
    );
    assert!(matches!(
        trade_calls::trades(&payuni(), missing.as_bytes()),
        Err(ReplyError::Fields(_))
    ));
    assert_eq!(
        trade_calls::trades(&payuni(), payuni_reply("Status=SUCCESS", None).as_bytes()),
        Ok(vec![])
    );
}
