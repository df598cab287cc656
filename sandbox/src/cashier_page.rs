//! What the cashier page says in each state of a trade.
//!
//! `cashier` → **`render`** → `answer::page`.
//!
//! Invariant: every button that is shown is a move that the trade allows now; forms carry no state but the method.
//! Not here: escaping and the page's frame (`page`). Nothing here fails.

use crate::app::App;
use crate::page::{both, escape, frame, house, row};
use crate::trade::{Method, Provider, Status, Trade};
use crate::world::{Answer, Delivery, Notice};
use crate::{ecpay, payuni};

/// The whole page of a trade.
pub(crate) fn render(app: &App, trade: &Trade, notices: &[Notice], note: Option<&str>) -> String {
    let body = [
        note.map(refused).unwrap_or_default(),
        headline(trade.status),
        order(trade),
        next_step(trade),
        way_back(app, trade),
        log(notices),
    ]
    .concat();
    let (chinese, english) = house(trade.provider);
    let title = format!("{chinese} {english} · {}", trade.status.as_str());
    frame(trade.provider, &title, &body)
}

fn headline(status: Status) -> String {
    match status {
        Status::Open => format!("<h1>{}</h1>\n", both("付款", "Checkout")),
        Status::Failed => state(
            "failed",
            "✕",
            ("付款失敗", "Payment failed"),
            ("可以換一種方式再試", "You may try again"),
        ),
        Status::Closed => state(
            "waiting",
            "–",
            ("已離開付款頁", "You left the cashier"),
            ("尚未付款", "Nothing was charged"),
        ),
        Status::CodeIssued => state(
            "waiting",
            "…",
            ("取號成功，等待繳費", "Code issued"),
            ("繳費後才算完成", "Not paid yet"),
        ),
        Status::Paid => state(
            "paid",
            "✓",
            ("付款成功", "Paid"),
            ("交易已完成", "The payment is complete"),
        ),
    }
}

fn next_step(trade: &Trade) -> String {
    match trade.status {
        Status::Open | Status::Failed => choices(trade),
        Status::Closed => reopen(trade),
        Status::CodeIssued => issued_code(trade),
        Status::Paid => String::new(),
    }
}

fn refused(reason: &str) -> String {
    let text = both("無法執行", reason);
    format!(r#"<section class="card" role="alert"><p class="no" id="refused">{text}</p></section>"#)
}

fn state(class: &str, sign: &str, title: (&str, &str), text: (&str, &str)) -> String {
    let (title, text) = (both(title.0, title.1), both(text.0, text.1));
    format!(
        r#"<section class="card" id="state" data-status="{class}"><div class="state {class}" role="status"><span class="sign" aria-hidden="true">{sign}</span><div><h1>{title}</h1><p>{text}</p></div></div></section>
"#
    )
}

fn order(trade: &Trade) -> String {
    let items: Vec<String> = trade.description.split(['#', ';']).map(escape).collect();
    let mut rows = row("商品", "Items", &items.join("<br>"));
    rows += &row(
        "訂單編號",
        "Order",
        &format!("<code>{}</code>", escape(&trade.order_number)),
    );
    let number = format!(r#"<code id="trade-no">{}</code>"#, escape(&trade.trade_no));
    rows += &row("交易編號", "Trade", &number);
    rows += &row(
        "商店代號",
        "Merchant",
        &format!("<code>{}</code>", escape(&trade.merchant_id)),
    );
    if let Some(contract) = &trade.contract {
        let done = contract.succeeded().count();
        let text = format!(
            "NT${} × {}（{done}/{}）",
            contract.terms.amount, contract.terms.times_total, contract.terms.times_total
        );
        rows += &row("定期定額", "Periodic", &escape(&text));
    }
    let amount = trade.amount;
    format!(
        r#"<section class="card"><p class="amount">NT${amount}</p><dl>{rows}</dl></section>
"#
    )
}

fn choices(trade: &Trade) -> String {
    let methods: String = trade
        .methods
        .iter()
        .enumerate()
        .map(|(index, method)| choice(trade, *method, index == 0))
        .collect();
    let close = button(trade, "close", None, "", ("關閉視窗", "Close the window"));
    format!(
        r#"<section class="card"><h2>{}</h2>{methods}</section>
<div class="row">{close}</div>
"#,
        both("付款方式", "Payment method")
    )
}

fn choice(trade: &Trade, method: Method, open: bool) -> String {
    let (chinese, english) = method_name(method);
    let open = if open { " open" } else { "" };
    let (hint, buttons) = if method.issues_code() {
        let issue = button(
            trade,
            "issue-code",
            Some(method),
            "main",
            ("取得繳費代碼", "Issue a code"),
        );
        (
            both(
                "取得代碼後，再到下一頁模擬繳費。",
                "Get a code, then pay it on the next page.",
            ),
            issue,
        )
    } else {
        let pay = button(trade, "pay", Some(method), "main", ("付款", "Pay"));
        let fail = button(trade, "fail", Some(method), "bad", ("模擬失敗", "Decline"));
        (instant_hint(method), pay + &fail)
    };
    format!(
        r#"<details name="method"{open}><summary>{}</summary><div>{hint}<div class="row">{buttons}</div></div></details>
"#,
        both(chinese, english)
    )
}

fn instant_hint(method: Method) -> String {
    if method == Method::Credit {
        let text = both("測試卡號", "Test card");
        return format!("{text} <code>4311-9522-2222-2222</code>");
    }
    both("沙盒不需要任何帳戶資料。", "The sandbox asks for no account.")
}

/// Buttons are found in tests by `data-action`, and by `data-method` where several methods are offered.
fn button(
    trade: &Trade,
    action: &str,
    method: Option<Method>,
    class: &str,
    (chinese, english): (&str, &str),
) -> String {
    let address = format!(
        "/{}/cashier/{}/{action}",
        trade.provider.as_str(),
        escape(&trade.trade_no)
    );
    let (choice, data) = method.map_or_else(Default::default, |method| {
        let name = method.as_str();
        (
            format!(r#"<input type="hidden" name="method" value="{name}">"#),
            format!(r#" data-method="{name}""#),
        )
    });
    format!(
        r#"<form method="post" action="{address}">{choice}<button class="{class}" data-action="{action}"{data}>{}</button></form>"#,
        both(chinese, english)
    )
}

/// The address of the page still works, so a customer may come back and pay.
fn reopen(trade: &Trade) -> String {
    let instant = trade.methods.iter().find(|method| !method.issues_code());
    let again = match (instant, trade.methods.first()) {
        (Some(method), _) => button(
            trade,
            "pay",
            Some(*method),
            "main",
            ("還是要付款", "Pay after all"),
        ),
        (None, Some(method)) => button(
            trade,
            "issue-code",
            Some(*method),
            "main",
            ("取得繳費代碼", "Issue a code"),
        ),
        (None, None) => String::new(),
    };
    format!(r#"<div class="row">{again}</div>"#)
}

fn issued_code(trade: &Trade) -> String {
    let fields = match trade.provider {
        Provider::Payuni => payuni::notice::instructions(trade),
        Provider::Ecpay | Provider::Mock => ecpay::notice::instructions(trade),
    };
    let rows: String = fields
        .iter()
        .map(|(name, value)| {
            let (chinese, english) = code_name(name);
            row(
                chinese,
                english,
                &format!(r#"<code data-field="{name}">{}</code>"#, escape(value)),
            )
        })
        .collect();
    let pay = button(trade, "pay-code", None, "main", ("模擬繳費", "Pay the code"));
    format!(
        r#"<section class="card"><h2>{}</h2><dl>{rows}</dl><div class="row">{pay}</div></section>
"#,
        both("繳費資訊", "How to pay")
    )
}

fn code_name(field: &'static str) -> (&'static str, &'static str) {
    match field {
        "BankCode" | "BankType" => ("銀行代碼", "Bank"),
        "vAccount" => ("虛擬帳號", "Account"),
        "PaymentNo" | "PayNo" => ("繳費代碼", "Code"),
        "Barcode1" => ("條碼一", "Barcode 1"),
        "Barcode2" => ("條碼二", "Barcode 2"),
        "Barcode3" => ("條碼三", "Barcode 3"),
        "ExpireDate" => ("繳費期限", "Pay before"),
        other => (other, ""),
    }
}

const fn method_name(method: Method) -> (&'static str, &'static str) {
    match method {
        Method::Credit => ("信用卡", "Card"),
        Method::WebAtm => ("網路 ATM", "WebATM"),
        Method::Atm => ("ATM 轉帳", "Bank transfer"),
        Method::Cvs => ("超商代碼", "Convenience store code"),
        Method::Barcode => ("超商條碼", "Convenience store barcode"),
        Method::ApplePay => ("Apple Pay", ""),
        Method::Twqr => ("TWQR 行動支付", "TWQR"),
        Method::Bnpl => ("先買後付", "Buy now, pay later"),
        Method::WeiXin => ("微信支付", "WeChat Pay"),
        Method::DigitalPayment => ("電子支付", "Digital wallet"),
    }
}

/// The link back to the shop, and the form that carries the result where the shop asked for one.
fn way_back(app: &App, trade: &Trade) -> String {
    let (back, result_url) = match trade.provider {
        Provider::Ecpay => ("ClientBackURL", "OrderResultURL"),
        Provider::Payuni => ("BackURL", "ReturnURL"),
        Provider::Mock => ("returnUrl", ""),
    };
    let settled = matches!(trade.status, Status::Paid | Status::Failed);
    let result = if settled {
        result_form(app, trade, trade.field(result_url))
    } else {
        String::new()
    };
    let link = match trade.field(back) {
        "" => String::new(),
        address => {
            let (address, label) = (escape(address), both("返回商店", "Back to the shop"));
            format!(r#"<a class="button" id="back" href="{address}">{label}</a>"#)
        }
    };
    if result.is_empty() && link.is_empty() {
        return String::new();
    }
    format!("<div class=\"row\">{result}{link}</div>\n")
}

fn result_form(app: &App, trade: &Trade, address: &str) -> String {
    let fields = match trade.provider {
        Provider::Ecpay => app
            .ecpay_merchant(&trade.merchant_id)
            .map(|merchant| ecpay::notice::browser_result(merchant, trade, app.clock.now())),
        Provider::Payuni => app
            .payuni_merchant(&trade.merchant_id)
            .map(|merchant| payuni::notice::browser_result(merchant, trade, app.clock.now())),
        Provider::Mock => None,
    };
    let Some(fields) = fields.filter(|_| !address.is_empty()) else {
        return String::new();
    };
    let hidden = |(name, value): &(String, String)| {
        format!(
            r#"<input type="hidden" name="{}" value="{}">"#,
            escape(name),
            escape(value)
        )
    };
    let inputs = fields.iter().map(hidden).collect::<Vec<_>>().concat();
    let (address, label) = (
        escape(address),
        both("帶著結果返回商店", "Return to the shop with the result"),
    );
    format!(
        r#"<form method="post" action="{address}">{inputs}<button class="main" id="result">{label}</button></form>"#
    )
}

/// What the shop's server was told. A real provider shows no such thing; it is what a developer wants to see.
fn log(notices: &[Notice]) -> String {
    if notices.is_empty() {
        return String::new();
    }
    let rows: Vec<String> = notices
        .iter()
        .flat_map(|notice| notice.deliveries.iter().map(|one| log_row(notice, one)))
        .collect();
    let rows = rows.concat();
    format!(
        r#"<section class="card log"><h2>{}</h2><table id="notices"><thead><tr><th>{}</th><th>{}</th><th>{}</th></tr></thead><tbody>{rows}</tbody></table></section>
"#,
        both("伺服器通知", "Notices to the shop's server"),
        both("通知", "Notice"),
        both("網址", "Address"),
        both("回應", "Answer"),
    )
}

fn log_row(notice: &Notice, delivery: &Delivery) -> String {
    let (class, text) = verdict(&delivery.answer, delivery.acknowledged);
    let (kind, url, attempt) = (
        notice.draft.kind.as_str(),
        escape(&notice.draft.url),
        delivery.attempt,
    );
    format!(
        r#"<tr><td>{kind} · {attempt}</td><td class="mono">{url}</td><td class="{class}">{text}</td></tr>"#
    )
}

fn verdict(answer: &Answer, acknowledged: bool) -> (&'static str, String) {
    match answer {
        Answer::Awaited => ("wait", both("等待回應", "waiting")),
        Answer::Lost(reason) => ("no", both("未送達", reason)),
        Answer::Http { status, body } => {
            let shown: String = body.chars().take(60).collect();
            (
                if acknowledged { "ok" } else { "no" },
                format!("{status} <code>{}</code>", escape(&shown)),
            )
        }
    }
}
