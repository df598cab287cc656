//! `tollgate reconcile payments`: every payment of some days compared with what its provider says (OP-5).
//!
//! main → **reconcile** → `polls::ask` → the inbox; one JSON line a difference on standard output, then a summary.
//!
//! Invariants: what a provider tells goes through the inbox, as its notice would have; nothing else is changed, so a charge
//! that only we know of is told and left to a person. Turns with the provider are waited for, so the command may take as
//! long as there are payments times the spacing. Exit code 1 where anything differed, so that a scheduler notices.
//! `settlement_file` compares with ECPay's file instead, and asks nobody.
//! Failure: [`CommandError`]; a payment that could not be asked about is a difference too.

mod settlement_file;

use serde_json::{Value, json};
use tollgate_shared::id::{MerchantId, PaymentId};
use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::{CommandError, print_line};
use crate::Origin;
use crate::config::Config;
use crate::db::polls::{self, AskedPayment};
use crate::db::{DbError, Tx};
use crate::effects::{Undone, feed};
use crate::gateway::limiter::{Line, Turn, turn};
use crate::gateway::provider::Shop;
use crate::gateway::user_core::Client;
use crate::polls::{ASK_CALLS, ask};

#[cfg(test)]
pub(crate) use settlement_file::{Compared, compare as compare_file};
pub use settlement_file::{SettlementRefusal, settlement_file};

/// Payments read at a time.
const PAGE: i64 = 200;

/// How a payment differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Difference {
    /// The provider says that it is paid, and we knew nothing of it; it is booked now.
    Recovered,
    /// The provider says that it is paid, and it could not be booked: see disputes and the inbox.
    NotBooked,
    /// It is paid here, and the provider says that it is not.
    NotPaidThere,
    /// The provider could not be asked.
    NotAsked,
}

impl Difference {
    const fn label(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::NotBooked => "not_booked",
            Self::NotPaidThere => "not_paid_at_provider",
            Self::NotAsked => "not_asked",
        }
    }
}

/// `tollgate reconcile payments --from --to`.
pub async fn payments(config: Config, days: (Timestamp, Timestamp)) -> Result<(), CommandError> {
    let origin = Origin::new(config)?;
    let client = Client::new()?;
    let mut differences = 0_usize;
    let mut asked = 0_usize;
    let mut after = (days.0, PaymentId::from_uuid(Uuid::nil()));
    loop {
        let page = |tx: Tx| async move { polls::between(&tx, days, after, PAGE).await };
        let payments = origin.database.run_tx("reconcile_payments", page).await?;
        for payment in &payments {
            asked = asked.saturating_add(1);
            if let Some((difference, reason)) = compare(&origin, &client, payment).await? {
                differences = differences.saturating_add(1);
                tell(payment, difference, reason.as_deref())?;
            }
        }
        match payments.last() {
            Some(last) => after = (last.ordered_at, last.id),
            None => break,
        }
    }
    print_line(&json!({ "event": "reconciled", "payments": asked, "differences": differences }))?;
    if differences == 0 {
        Ok(())
    } else {
        Err(CommandError::Differences(differences))
    }
}

/// Asks about a payment, feeds what is told, and says how the two differ, with the reason where it could not be asked.
pub(crate) async fn compare(
    origin: &Origin,
    client: &Client,
    payment: &AskedPayment,
) -> Result<Option<(Difference, Option<String>)>, DbError> {
    match ask_and_feed(origin, client, payment).await {
        Ok(paid_there) => {
            let id = payment.id;
            let find = |tx: Tx| async move { polls::find(&tx, id).await };
            let now_known = origin.database.run_tx("reconcile_payment", find).await?;
            let after = now_known.map_or(Minor::ZERO, |known| known.settled_minor);
            Ok(difference(payment.settled_minor, after, paid_there).map(|difference| (difference, None)))
        }
        Err(undone) => Ok(Some((Difference::NotAsked, Some(reason(&undone))))),
    }
}

fn difference(before: Minor, after: Minor, paid_there: bool) -> Option<Difference> {
    match (before > Minor::ZERO, after > Minor::ZERO, paid_there) {
        (true, _, true) | (false, false, false) => None,
        (true, _, false) => Some(Difference::NotPaidThere),
        (false, true, _) => Some(Difference::Recovered),
        (false, false, true) => Some(Difference::NotBooked),
    }
}

async fn ask_and_feed(origin: &Origin, client: &Client, payment: &AskedPayment) -> Result<bool, Undone> {
    let shop = payment
        .merchant
        .as_ref()
        .and_then(|merchant: &MerchantId| Shop::of(origin, &payment.provider, merchant))
        .ok_or_else(|| Undone::Never("its shop is not configured here".to_owned()))?;
    let mut line = wait_for_turn(origin, client, shop).await?;
    let told = ask(&mut line, shop, &payment.order, origin.clock.now()).await?;
    feed(origin, shop, &told.observations).await?;
    Ok(told.paid)
}

async fn wait_for_turn<'a>(
    origin: &'a Origin,
    client: &'a Client,
    shop: Shop<'a>,
) -> Result<Line<'a>, DbError> {
    let mut held = None;
    loop {
        let at = match turn(origin, client, shop, ASK_CALLS, held).await? {
            Turn::Now(line) => return Ok(line),
            Turn::From(at) => {
                held = Some(at);
                at
            }
            Turn::Silent(until) => until,
        };
        let now = origin.clock.now();
        if at > now {
            tokio::time::sleep(at.distance(now)).await;
        }
    }
}

fn reason(undone: &Undone) -> String {
    match undone {
        Undone::Again(reason) | Undone::Never(reason) => reason.clone(),
        Undone::NotBefore(at, reason) => format!("{reason}, until {at}"),
        Undone::Turn(at) => format!("its turn is at {at}"),
    }
}

fn tell(payment: &AskedPayment, difference: Difference, reason: Option<&str>) -> std::io::Result<()> {
    print_line(&difference_line(difference.label(), payment, reason))
}

/// A difference, as every reconciliation prints it.
fn difference_line(label: &str, payment: &AskedPayment, reason: Option<&str>) -> Value {
    json!({
        "event": "difference",
        "difference": label,
        "paymentId": payment.id.to_string(),
        "provider": payment.provider,
        "orderNumber": payment.order.as_str(),
        "orderedAt": payment.ordered_at.to_string(),
        "amount": payment.price.amount_minor.get(),
        "settledHere": payment.settled_minor.get(),
        "reason": reason,
    })
}

#[cfg(test)]
mod tests {
    use tollgate_shared::money::Minor;

    use super::{Difference, difference};

    #[test]
    fn op_5_both_sides_agree_or_it_is_told_how_they_do_not() {
        let (none, some) = (Minor::ZERO, Minor::new(300));
        for (before, after, paid_there, expected) in [
            (none, none, false, None),
            (some, some, true, None),
            (none, some, true, Some(Difference::Recovered)),
            (none, none, true, Some(Difference::NotBooked)),
            (some, some, false, Some(Difference::NotPaidThere)),
        ] {
            assert_eq!(
                difference(before, after, paid_there),
                expected,
                "{before} {after} {paid_there}"
            );
        }
    }
}
