//! PAYUNi's calls about a periodic order: its schedule, its state, and the change of its card.
//!
//! origin's gateway sends **request** → PAYUNi → **reply** → `observed` | the subscription's state.
//!
//! All are Version 1.0 and carry no Timestamp (reference A.3, A.8); they go by PAYUNi's own number of the contract
//! (PeriodTradeNo). Invariant: a charge is told only by a TradeNo *and* an AuthCode; the Chinese state of a row is prose
//! and decides nothing but "still waiting" and "failed", and a row that is neither told nor understood is neither.
//! Not here: what a charged row means for the ledger (`observed`), and whether "ended already" is good news (the
//! caller: for `End` it is).

use std::collections::BTreeMap;

use super::Payuni;
use super::reply::{self, CallReply, Reply, ReplyError, SUCCESS, outcome};
use super::wire::Fields;
use crate::id::{OrderNumber, ProviderPaymentId};
use crate::money::Minor;
use crate::provider::{Refusal, ServerRequest};
use crate::time::Timestamp;

/// What `/api/period/mdfStatus` can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeriodChange {
    /// No more charges until it is restarted.
    Suspend,
    /// A suspended order runs again, from its nearest period on.
    Restart,
    /// No more charges, for ever.
    End,
    /// Charges one failed period again. The result is also told by a period notice.
    Reauth {
        /// The number of the period, 1 for the first.
        period: u32,
    },
}

/// What became of a [`PeriodChange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeriodChangeReply {
    /// Done; for a reauth: charged.
    Done {
        /// A reauth's `TradeNo`.
        trade_no: Option<ProviderPaymentId>,
        /// A reauth's `PeriodOrderNo`, as it came (a number in the request; what the reply holds is not documented).
        period_order_no: Option<String>,
    },
    /// Nobody knows yet (`UNKNOWN`, `API00009` and their like); ask for the schedule.
    Undecided,
    /// `PMDF02013`: it has ended. For `End` this is what was wanted.
    AlreadyEnded,
    /// `PMDF02018`: no such periodic order.
    NotFound,
    /// Anything else, with PAYUNi's words; for a reauth also a refused card.
    Refused {
        /// `Status`
        code: String,
        /// `Message`, for a person.
        message: String,
    },
}

/// The answer of `/api/period/query`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodSchedule {
    /// Our order number; after a change of card still the first one.
    pub order: OrderNumber,
    /// PAYUNi's number of the contract.
    pub period_trade_no: ProviderPaymentId,
    /// `TotalTimes`: how many charges it has in all.
    pub total: Option<u32>,
    /// `AlreadyTimes`: how many were made.
    pub already: Option<u32>,
    /// Every period, in the order of the reply.
    pub periods: Vec<ScheduledPeriod>,
}

/// One period of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledPeriod {
    /// 1 for the first.
    pub number: u32,
    /// When it is due (midnight of the day), or when it was charged.
    pub expected_at: Option<Timestamp>,
    /// PAYUNi's number of the charge, if it was charged.
    pub charge: Option<ProviderPaymentId>,
    /// `SubPeriodNo` (`MerTradeNo_N`); PAYUNi leaves it empty until the period is charged.
    pub period_order_number: Option<ProviderPaymentId>,
    /// What it costs.
    pub amount: Minor,
    /// Whether it is still to come (排程中).
    pub waiting: bool,
    /// Whether a charge was tried and refused.
    pub failed: bool,
    /// PAYUNi's word for its state; for a person.
    pub description: String,
    /// When PAYUNi last touched it.
    pub updated_at: Option<Timestamp>,
}

/// A page on which the customer changes the card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardChangePage {
    /// The link: for one use, for 60 minutes. The field that carries it is not documented, so it is looked for.
    pub url: Option<String>,
    /// All fields of the reply, for a person where no link was found.
    pub fields: BTreeMap<String, String>,
}

/// `/api/period/query`. `None` for unusable keys, as everywhere here.
#[must_use]
pub fn query_request(
    payuni: &Payuni,
    base_url: &str,
    period_trade_no: &ProviderPaymentId,
) -> Option<ServerRequest> {
    send(payuni, base_url, "/api/period/query", period_trade_no, &[])
}

/// `/api/period/mdfStatus`.
#[must_use]
pub fn change_request(
    payuni: &Payuni,
    base_url: &str,
    period_trade_no: &ProviderPaymentId,
    change: PeriodChange,
) -> Option<ServerRequest> {
    let (word, period) = match change {
        PeriodChange::Suspend => ("suspend", None),
        PeriodChange::Restart => ("restart", None),
        PeriodChange::End => ("end", None),
        PeriodChange::Reauth { period } => ("reauth", Some(period)),
    };
    let mut more = vec![("ReviseTradeStatus", word.to_owned())];
    more.extend(period.map(|period| ("PeriodOrderNo", period.to_string())));
    send(payuni, base_url, "/api/period/mdfStatus", period_trade_no, &more)
}

/// `/api/period/exchange` with `APIType=1`: asks for a [`CardChangePage`].
#[must_use]
pub fn card_change_request(
    payuni: &Payuni,
    base_url: &str,
    period_trade_no: &ProviderPaymentId,
) -> Option<ServerRequest> {
    let more = [("APIType", "1".to_owned())];
    send(payuni, base_url, "/api/period/exchange", period_trade_no, &more)
}

fn send(
    payuni: &Payuni,
    base_url: &str,
    path: &str,
    period_trade_no: &ProviderPaymentId,
    more: &[(&str, String)],
) -> Option<ServerRequest> {
    let mut inner = vec![
        ("MerID", payuni.merchant.to_string()),
        ("PeriodTradeNo", period_trade_no.to_string()),
    ];
    inner.extend_from_slice(more);
    reply::request(payuni, base_url, path, "1.0", &inner)
}

/// Reads the answer of `/api/period/mdfStatus`.
pub fn change_reply(payuni: &Payuni, json: &[u8]) -> Result<PeriodChangeReply, ReplyError> {
    let (call, reply) = outcome(payuni, json)?;
    let head = Fields::Row(&reply.fields);
    Ok(match call {
        CallReply::Done => PeriodChangeReply::Done {
            trade_no: head.trade_no(),
            period_order_no: head.filled("PeriodOrderNo").map(str::to_owned),
        },
        CallReply::Undecided { .. } => PeriodChangeReply::Undecided,
        CallReply::Refused { code, .. } if code == "PMDF02013" => PeriodChangeReply::AlreadyEnded,
        CallReply::Refused { code, .. } if code == "PMDF02018" => PeriodChangeReply::NotFound,
        CallReply::Refused { code, message } => PeriodChangeReply::Refused { code, message },
    })
}

/// Reads the answer of `/api/period/query`.
pub fn schedule(payuni: &Payuni, json: &[u8]) -> Result<PeriodSchedule, ReplyError> {
    let reply = queried(payuni, json)?;
    let head = Fields::Row(&reply.fields);
    let periods = reply.results.iter().map(|row| period(Fields::Row(row)));
    let schedule = || -> Result<PeriodSchedule, Refusal> {
        Ok(PeriodSchedule {
            order: head.order()?,
            period_trade_no: head.required("PeriodTradeNo")?,
            total: head.count("TotalTimes"),
            already: head.count("AlreadyTimes"),
            periods: periods.collect::<Result<_, Refusal>>()?,
        })
    };
    schedule().map_err(ReplyError::Fields)
}

/// A query's reply; anything but its success is an error.
pub(super) fn queried(payuni: &Payuni, json: &[u8]) -> Result<Reply, ReplyError> {
    let reply = reply::read(payuni, json)?;
    if reply.status == SUCCESS {
        Ok(reply)
    } else {
        Err(ReplyError::Refused {
            status: reply.status,
            message: reply.message,
        })
    }
}

/// Reads the answer of `/api/period/exchange`.
pub fn card_change_page(payuni: &Payuni, json: &[u8]) -> Result<CardChangePage, ReplyError> {
    let reply = queried(payuni, json)?;
    let rows = reply.results.into_iter().flatten();
    let fields: BTreeMap<String, String> = reply.fields.into_iter().chain(rows).collect();
    // The sandbox on this machine has no TLS; a link of any other kind is none.
    let is_link = |value: &&String| {
        ["https://", "http://localhost", "http://127.0.0.1"]
            .iter()
            .any(|start| value.starts_with(start))
    };
    Ok(CardChangePage {
        url: fields.values().find(is_link).cloned(),
        fields,
    })
}

pub(super) fn period(row: Fields<'_>) -> Result<ScheduledPeriod, Refusal> {
    let trade_no = row.trade_no();
    let authorised = row.filled("AuthCode").is_some();
    let description = row.text("StatusDesc");
    let waiting = description.contains("排程中");
    // Words like 暫停 (paused) and 終止 (ended) are no failures, and there may be others: only a try that did not
    // succeed is one, told by its number or by the word. 排程中, 授權中, 處理中: a word that ends so is under way.
    let tried = trade_no.is_some() || description.contains("失敗");
    let under_way = waiting || description.ends_with('中');
    Ok(ScheduledPeriod {
        number: row.required("Period")?,
        expected_at: row.time("ExpAuthDT"),
        period_order_number: row.number("SubPeriodNo"),
        amount: row.money("Amt")?.amount_minor,
        waiting,
        failed: tried && !authorised && !under_way,
        description,
        updated_at: row.time("UpdateTime"),
        charge: trade_no.filter(|_| authorised),
    })
}
