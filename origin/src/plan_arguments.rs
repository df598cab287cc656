//! `tollgate plan put`: what a plan is, as it is written on the command line.
//!
//! the command line → **arguments** → `commands::plan_put`, which refuses what makes no plan.
//!
//! Part of the program, not of the library. Invariant: what a kind of plan needs is asked for before anything is opened.
//! Not here: which plans may be changed (`db::plans`).

use clap::{Args, ValueEnum};
use tollgate_origin::commands::{PlanArguments, PlanArgumentsKind};
use tollgate_origin::db::tokens::TokenAmount;
use tollgate_shared::id::PlanId;

use super::token_amount;

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Kind {
    OneTime,
    Subscription,
    Free,
}

#[derive(Args)]
pub(super) struct PlanPut {
    /// 1 to 64 of a-z 0-9 -
    #[arg(long)]
    id: PlanId,
    /// What the customer reads at the cashier.
    #[arg(long)]
    name: String,
    /// Whole TWD of one charge; 0 for a free plan.
    #[arg(long)]
    amount: i64,
    /// One charge, or many.
    #[arg(long)]
    kind: Kind,
    /// What a charge gives: `users.subscription_type`.
    #[arg(long, required_if_eq_any([("kind", "subscription"), ("kind", "free")]))]
    subscription_type: Option<String>,
    /// One-time plans: calendar days that a charge pays for; absent: for ever.
    #[arg(long)]
    duration_days: Option<u16>,
    /// One-time plans without subscription type and duration: the purchased tokens that a charge gives.
    #[arg(long, value_parser = token_amount)]
    tokens: Option<TokenAmount>,
    /// Subscriptions: day, week, month or year.
    #[arg(long, required_if_eq("kind", "subscription"))]
    period_type: Option<String>,
    /// Subscriptions: units in a period.
    #[arg(long, default_value_t = 1)]
    period_frequency: u16,
    /// Subscriptions: charges in all, the first included.
    #[arg(long, required_if_eq("kind", "subscription"))]
    period_times: Option<u16>,
    /// Subscriptions: build (on the day of the order) or date (on a day that the customer chooses at checkout; PAYUNi only).
    #[arg(long, default_value = "build")]
    first_charge: String,
    /// Subscriptions: the day of every charge after the first: 1 (Monday) to 7, 1 to 31, or MM-DD; absent: that of the
    /// first (PAYUNi only).
    #[arg(long)]
    period_date: Option<String>,
    /// Subscriptions: whole TWD of the first charge; absent: the amount (PAYUNi only).
    #[arg(long)]
    first_amount: Option<i64>,
    /// What the plan allows, as NAME=NUMBER; once for each.
    #[arg(long = "limit", value_parser = limit)]
    limits: Vec<(String, i64)>,
}

fn limit(text: &str) -> Result<(String, i64), &'static str> {
    let wanted = "must be NAME=NUMBER, such as articles=3";
    let (name, number) = text.split_once('=').ok_or(wanted)?;
    if name.is_empty() {
        return Err(wanted);
    }
    Ok((name.to_owned(), number.parse().map_err(|_| wanted)?))
}

impl PlanPut {
    /// The arguments of the kind; those of another kind are refused.
    pub(super) fn arguments(self) -> Result<PlanArguments, clap::Error> {
        if !matches!(self.kind, Kind::Subscription)
            && (self.period_date.is_some() || self.first_amount.is_some())
        {
            return Err(clap::Error::raw(
                clap::error::ErrorKind::ArgumentConflict,
                "--period-date and --first-amount are for subscriptions\n",
            ));
        }
        let kind = match self.kind {
            Kind::OneTime => PlanArgumentsKind::OneTime {
                duration_days: self.duration_days,
            },
            Kind::Subscription => PlanArgumentsKind::Subscription {
                period_type: self.period_type.unwrap_or_default(),
                frequency: self.period_frequency,
                times: self.period_times.unwrap_or_default(),
                first_charge: self.first_charge,
                period_date: self.period_date,
                first_amount_minor: self.first_amount,
            },
            Kind::Free => PlanArgumentsKind::Free,
        };
        Ok(PlanArguments {
            id: self.id,
            name: self.name,
            amount_minor: self.amount,
            subscription_type: self.subscription_type,
            tokens: self.tokens,
            limits: self.limits.into_iter().collect(),
            kind,
        })
    }
}
