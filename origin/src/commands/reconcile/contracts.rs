//! The periods of a contract at its provider, compared with the books charge by charge (OP-5).
//!
//! `reconcile` → **contracts** → `polls::ask_contract` → the inbox → the charges before and after.
//!
//! Invariants: all charges of a contract are compared at once, whichever of them is of the days: the provider tells all in
//! one answer. What an unsigned answer alone tells is not booked, and told. A charge that was paid back in full and
//! is not told agrees. A contract of PAYUNi's whose number is not known is asked about by its order, and told.
//! Not here: when the service itself asks (`subscriptions::state`).

use std::collections::BTreeMap;
use std::time::Duration;

use tollgate_shared::event::Fact;
use tollgate_shared::id::PaymentId;
use tollgate_shared::money::Minor;
use tollgate_shared::provider::Observation;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::{Difference, Found, PAGE, Row, Tally, compare_order, shop, wait_for_turn};
use crate::Origin;
use crate::commands::CommandError;
use crate::db::polls::{self, AskedPayment, Booked};
use crate::db::subscriptions::{self, Subscription};
use crate::db::{DbError, Tx};
use crate::domain::subscription::schedule::{due_on, midnight, period_of, taipei_date};
use crate::effects::{Undone, feed};
use crate::gateway::user_core::Client;
use crate::polls::{CONTRACT_CALLS, ToldOfContract, ask_contract, contract_number};

/// Contracts that were ordered before the days, and had a period due on them or were tried again on them.
pub(super) async fn older(
    origin: &Origin,
    client: &Client,
    days: (Timestamp, Timestamp),
    tally: &mut Tally,
) -> Result<(), CommandError> {
    let mut after = (Timestamp::from_unix_ms(0), PaymentId::from_uuid(Uuid::nil()));
    loop {
        let page = |tx: Tx| async move {
            let mut found = Vec::new();
            for payment in polls::contracts_before(&tx, days.0, after, PAGE).await? {
                let subscription = subscriptions::of_payment(&tx, payment.id).await?;
                found.push((payment, subscription));
            }
            Ok::<_, DbError>(found)
        };
        let contracts = origin.database.run_tx("reconcile_contracts", page).await?;
        for (payment, subscription) in &contracts {
            if let Some(contract) = subscription.as_ref().filter(|it| is_due(origin, it, days)) {
                tally.tell(payment, &compare(origin, client, payment, contract).await?)?;
            }
        }
        match contracts.last() {
            Some((last, _)) => after = (last.ordered_at, last.id),
            None => return Ok(()),
        }
    }
}

/// Whether a period fell due on the days, or so shortly before that its retries may lie on them.
fn is_due(origin: &Origin, contract: &Subscription, (from, to): (Timestamp, Timestamp)) -> bool {
    let retry_days = origin.subscriptions().policy.retry_days.iter().max().copied();
    let retried =
        Duration::from_hours(u64::from(retry_days.unwrap_or_default().saturating_add(1)).saturating_mul(24));
    let last = Timestamp::from_unix_ms(to.unix_ms().saturating_sub(1));
    let anchor = contract.anchor.or_else(|| taipei_date(contract.created_at));
    let due = anchor.zip(taipei_date(last)).and_then(|(anchor, last)| {
        let period = period_of(contract.schedule, anchor, last);
        midnight(due_on(contract.schedule, anchor, period)?)
    });
    due.is_some_and(|due| due <= last && due.plus(retried) >= from)
}

/// Asks about a contract, feeds what is told, and says how charges differ.
pub(super) async fn compare(
    origin: &Origin,
    client: &Client,
    payment: &AskedPayment,
    contract: &Subscription,
) -> Result<Vec<Found>, DbError> {
    if contract.provider == "payuni"
        && let Err(unknown) = contract_number(contract)
    {
        return without_number(origin, client, payment, &unknown).await;
    }
    let before = booked(origin, payment.id).await?;
    let told = match ask_and_feed(origin, client, payment, contract).await {
        Ok(told) => told,
        Err(undone) => return Ok(vec![Found::not_asked(&undone)]),
    };
    let after = booked(origin, payment.id).await?;
    let mut found = differences((&before, &after), &charged(&told.observations));
    if told.unvouched > 0 {
        found.push(Found {
            reason: Some(format!(
                "ECPay lists {} charges that its signed answer does not cover",
                told.unvouched
            )),
            ..Found::of(Difference::NotBooked)
        });
    }
    Ok(found)
}

/// The first charge can be asked about by the order; what came after it cannot.
async fn without_number(
    origin: &Origin,
    client: &Client,
    payment: &AskedPayment,
    unknown: &Undone,
) -> Result<Vec<Found>, DbError> {
    let row = Row::Payment(payment.id);
    let mut found = compare_order(origin, client, payment, row).await?;
    if super::settled(origin, row).await? > Minor::ZERO {
        found.push(Found::not_asked(unknown));
    }
    Ok(found)
}

async fn booked(origin: &Origin, payment: PaymentId) -> Result<Vec<Booked>, DbError> {
    let find = |tx: Tx| async move { polls::booked(&tx, payment).await };
    origin.database.run_tx("reconcile_booked", find).await
}

async fn ask_and_feed(
    origin: &Origin,
    client: &Client,
    payment: &AskedPayment,
    contract: &Subscription,
) -> Result<ToldOfContract, Undone> {
    let shop = shop(origin, payment)?;
    let mut line = wait_for_turn(origin, client, shop, CONTRACT_CALLS).await?;
    let told = ask_contract(&mut line, shop, contract, origin.clock.now()).await?;
    feed(origin, shop, &told.observations).await?;
    Ok(told)
}

/// The charges that a provider tells, by their numbers.
fn charged(told: &[Observation]) -> BTreeMap<&str, Minor> {
    let charges = told
        .iter()
        .filter_map(|observation| match &observation.event.fact {
            Fact::Paid(charge) | Fact::PeriodPaid(charge, _) => Some(charge),
            Fact::PaymentFailed(_)
            | Fact::PaymentCanceled(_)
            | Fact::CodeIssued(_)
            | Fact::CardBound(_)
            | Fact::PaymentHeld(_)
            | Fact::Refunded(_)
            | Fact::PeriodFailed(..)
            | Fact::Foreign { .. }
            | Fact::Acknowledged { .. } => None,
        });
    charges
        .map(|charge| (charge.provider_payment_id.as_str(), charge.money.amount_minor))
        .collect()
}

/// How the charges before and after the feeding differ from those that are told.
fn differences((before, after): (&[Booked], &[Booked]), told: &BTreeMap<&str, Minor>) -> Vec<Found> {
    let find = |booked: &[Booked], number: &str| {
        booked
            .iter()
            .find(|charge| charge.number == number)
            .map(|charge| charge.amount_minor)
    };
    let of_told = told.iter().filter_map(|(number, amount)| {
        let difference = match (find(before, number), find(after, number)) {
            (_, None) => Difference::NotBooked,
            (_, Some(here)) if here != *amount => Difference::OtherAmount,
            (None, Some(_)) => Difference::Recovered,
            (Some(_), Some(_)) => return None,
        };
        Some((difference, (*number).to_owned()))
    });
    let untold = after.iter().filter(|charge| {
        let is_returned = charge.refunded_minor >= charge.amount_minor;
        !told.contains_key(charge.number.as_str()) && !is_returned
    });
    let untold = untold.map(|charge| (Difference::NotPaidThere, charge.number.clone()));
    of_told
        .chain(untold)
        .map(|(difference, charge)| Found {
            charge: Some(charge),
            ..Found::of(difference)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tollgate_shared::money::Minor;

    use super::differences;
    use crate::db::polls::Booked;

    /// `17=300` or, paid back in part, `17=300-100`.
    fn booked(text: &str) -> Vec<Booked> {
        let one = |part: &str| {
            let (number, amount) = part.split_once('=').unwrap();
            let (amount, refunded) = amount.split_once('-').unwrap_or((amount, "0"));
            Booked {
                number: number.to_owned(),
                amount_minor: Minor::new(amount.parse().unwrap()),
                refunded_minor: Minor::new(refunded.parse().unwrap()),
            }
        };
        text.split_whitespace().map(one).collect()
    }

    #[test]
    fn op_5_the_charges_of_a_contract_are_compared_one_by_one() {
        for (before, after, told, expected) in [
            ("", "", "", ""),
            ("1=300 2=300", "1=300 2=300", "1=300 2=300", ""),
            ("1=300", "1=300 2=300", "1=300 2=300", "recovered 2"),
            (
                "1=300",
                "1=300",
                "1=300 2=300 3=300",
                "not_booked 2, not_booked 3",
            ),
            ("1=300 2=300", "1=300 2=300", "1=300", "not_paid_at_provider 2"),
            (
                "1=300 2=300-299",
                "1=300 2=300-299",
                "1=300",
                "not_paid_at_provider 2",
            ),
            ("1=300 2=300-300", "1=300 2=300-300", "1=300", ""),
            ("1=300-300", "1=300-300", "1=300", ""),
            ("1=300", "1=300", "1=299", "other_amount 1"),
            ("", "1=300", "1=299", "other_amount 1"),
            (
                "1=300",
                "1=300 2=300",
                "2=300",
                "recovered 2, not_paid_at_provider 1",
            ),
        ] {
            let told_charges = booked(told);
            let told_charges: BTreeMap<&str, Minor> = told_charges
                .iter()
                .map(|charge| (charge.number.as_str(), charge.amount_minor))
                .collect();
            let found = differences((&booked(before), &booked(after)), &told_charges);
            let found: Vec<String> = found
                .iter()
                .map(|found| format!("{} {}", found.difference.label(), found.charge.clone().unwrap()))
                .collect();
            assert_eq!(found.join(", "), expected, "{before} | {after} | {told}");
        }
    }
}
