//! `tollgate reconcile payments`: every payment of some days compared with what its provider says (OP-5).
//!
//! main → **reconcile** → `polls` → the inbox; one JSON line a difference on standard output, then a summary.
//!
//! Asked about are the payments that were ordered on the days, with every period of a contract; the contracts that are older
//! and had a period due on the days or shortly before (`contracts`); and the charges of stored cards that we sent on them.
//! Invariants: what a provider tells goes through the inbox, as its notice would have; nothing else is changed, so a charge
//! that only we know of is told and left to a person. Turns with the provider are waited for, so the command may take as
//! long as there are payments times the spacing. Exit code 1 where anything differed, so that a scheduler notices.
//! `settlement_file` compares with ECPay's file instead, and asks nobody.
//! Failure: [`CommandError`]; a payment that could not be asked about is a difference too.

mod contracts;
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
use crate::db::{DbError, Tx, subscriptions};
use crate::domain::subscription::Mode;
use crate::effects::{Undone, feed};
use crate::gateway::limiter::{Line, Turn, turn};
use crate::gateway::provider::Shop;
use crate::gateway::user_core::Client;
use crate::polls::{ASK_CALLS, ask};

#[cfg(test)]
pub(crate) use settlement_file::{Compared, compare as compare_file};
pub use settlement_file::{SettlementRefusal, settlement_file};

/// Rows read at a time.
const PAGE: i64 = 200;

/// How a payment or a charge differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Difference {
    /// The provider says that it is paid, and we knew nothing of it; it is booked now.
    Recovered,
    /// The provider says that it is paid, and it could not be booked: see disputes and the inbox.
    NotBooked,
    /// It is paid here, and the provider says that it is not.
    NotPaidThere,
    /// The provider says that it took another amount.
    OtherAmount,
    /// The provider could not be asked.
    NotAsked,
}

impl Difference {
    const fn label(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::NotBooked => "not_booked",
            Self::NotPaidThere => "not_paid_at_provider",
            Self::OtherAmount => "other_amount",
            Self::NotAsked => "not_asked",
        }
    }
}

/// A difference of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) difference: Difference,
    /// The provider's number of the charge, where it is one of several.
    pub(crate) charge: Option<String>,
    /// Why the provider could not be asked.
    pub(crate) reason: Option<String>,
}

impl Found {
    const fn of(difference: Difference) -> Self {
        Self {
            difference,
            charge: None,
            reason: None,
        }
    }

    fn not_asked(undone: &Undone) -> Self {
        Self {
            reason: Some(reason(undone)),
            ..Self::of(Difference::NotAsked)
        }
    }
}

/// How much was compared, and how much of it differed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) asked: usize,
    pub(crate) differences: usize,
}

impl Tally {
    /// Prints what was found of a payment.
    fn tell(&mut self, payment: &AskedPayment, found: &[Found]) -> std::io::Result<()> {
        self.asked = self.asked.saturating_add(1);
        self.differences = self.differences.saturating_add(found.len());
        for found in found {
            let label = found.difference.label();
            let mut line = difference_line(label, payment, found.reason.as_deref());
            if let (Some(members), Some(charge)) = (line.as_object_mut(), &found.charge) {
                members.insert("charge".to_owned(), json!(charge));
            }
            print_line(&line)?;
        }
        Ok(())
    }
}

/// `tollgate reconcile payments --from --to`.
pub async fn payments(config: Config, days: (Timestamp, Timestamp)) -> Result<(), CommandError> {
    let origin = Origin::new(config)?;
    let client = Client::new()?;
    let tally = compare_days(&origin, &client, days).await?;
    print_line(&json!({ "event": "reconciled", "payments": tally.asked, "differences": tally.differences }))?;
    if tally.differences == 0 {
        Ok(())
    } else {
        Err(CommandError::Differences(tally.differences))
    }
}

/// Compares everything of some days and prints what differs.
pub(crate) async fn compare_days(
    origin: &Origin,
    client: &Client,
    days: (Timestamp, Timestamp),
) -> Result<Tally, CommandError> {
    let mut tally = Tally::default();
    ordered_payments(origin, client, days, &mut tally).await?;
    contracts::older(origin, client, days, &mut tally).await?;
    sent_charges(origin, client, days, &mut tally).await?;
    Ok(tally)
}

async fn ordered_payments(
    origin: &Origin,
    client: &Client,
    days: (Timestamp, Timestamp),
    tally: &mut Tally,
) -> Result<(), CommandError> {
    let mut after = (days.0, PaymentId::from_uuid(Uuid::nil()));
    loop {
        let page = |tx: Tx| async move { polls::between(&tx, days, after, PAGE).await };
        let payments = origin.database.run_tx("reconcile_payments", page).await?;
        for payment in &payments {
            tally.tell(payment, &compare(origin, client, payment).await?)?;
        }
        match payments.last() {
            Some(last) => after = (last.ordered_at, last.id),
            None => return Ok(()),
        }
    }
}

async fn sent_charges(
    origin: &Origin,
    client: &Client,
    days: (Timestamp, Timestamp),
    tally: &mut Tally,
) -> Result<(), CommandError> {
    let mut after = (days.0, Uuid::nil());
    loop {
        let page = |tx: Tx| async move { polls::charges_between(&tx, days, after, PAGE).await };
        let charges = origin.database.run_tx("reconcile_charges", page).await?;
        for charge in &charges {
            let found = compare_order(origin, client, &charge.payment, Row::Charge(charge.id)).await?;
            tally.tell(&charge.payment, &found)?;
        }
        match charges.last() {
            Some(last) => after = (last.payment.ordered_at, last.id),
            None => return Ok(()),
        }
    }
}

/// Asks about a payment, feeds what is told, and says how the two differ; of a contract, charge by charge.
pub(crate) async fn compare(
    origin: &Origin,
    client: &Client,
    payment: &AskedPayment,
) -> Result<Vec<Found>, DbError> {
    let id = payment.id;
    let find = |tx: Tx| async move { subscriptions::of_payment(&tx, id).await };
    let subscription = origin.database.run_tx("reconcile_subscription", find).await?;
    match subscription.filter(|subscription| subscription.mode == Mode::ProviderRun) {
        Some(contract) => contracts::compare(origin, client, payment, &contract).await,
        None => compare_order(origin, client, payment, Row::Payment(id)).await,
    }
}

/// Where it stands what became of an order.
#[derive(Debug, Clone, Copy)]
enum Row {
    Payment(PaymentId),
    /// A charge of a stored card.
    Charge(Uuid),
}

async fn settled(origin: &Origin, row: Row) -> Result<Minor, DbError> {
    let find = |tx: Tx| async move {
        Ok::<_, DbError>(match row {
            Row::Payment(id) => polls::find(&tx, id).await?,
            Row::Charge(id) => polls::find_charge(&tx, id).await?.map(|charge| charge.payment),
        })
    };
    let found = origin.database.run_tx("reconcile_payment", find).await?;
    Ok(found.map_or(Minor::ZERO, |known| known.settled_minor))
}

/// Asks about one order by its number.
async fn compare_order(
    origin: &Origin,
    client: &Client,
    payment: &AskedPayment,
    row: Row,
) -> Result<Vec<Found>, DbError> {
    Ok(match ask_and_feed(origin, client, payment).await {
        Ok(paid_there) => {
            let after = settled(origin, row).await?;
            difference(payment, after, paid_there)
                .map(Found::of)
                .into_iter()
                .collect()
        }
        Err(undone) => vec![Found::not_asked(&undone)],
    })
}

fn difference(before: &AskedPayment, after: Minor, paid_there: bool) -> Option<Difference> {
    // Given up before its capture, a charge is "canceled" at the provider; that is what was wanted.
    let is_returned = before.refunded_minor >= before.settled_minor;
    match (
        before.settled_minor > Minor::ZERO,
        after > Minor::ZERO,
        paid_there,
    ) {
        (true, _, true) | (false, false, false) => None,
        (true, _, false) => (!is_returned).then_some(Difference::NotPaidThere),
        (false, true, _) => Some(Difference::Recovered),
        (false, false, true) => Some(Difference::NotBooked),
    }
}

async fn ask_and_feed(origin: &Origin, client: &Client, payment: &AskedPayment) -> Result<bool, Undone> {
    let shop = shop(origin, payment)?;
    let mut line = wait_for_turn(origin, client, shop, ASK_CALLS).await?;
    let told = ask(&mut line, shop, &payment.order, origin.clock.now()).await?;
    feed(origin, shop, &told.observations).await?;
    Ok(told.paid)
}

fn shop<'a>(origin: &'a Origin, payment: &AskedPayment) -> Result<Shop<'a>, Undone> {
    payment
        .merchant
        .as_ref()
        .and_then(|merchant: &MerchantId| Shop::of(origin, &payment.provider, merchant))
        .ok_or_else(|| Undone::Never("its shop is not configured here".to_owned()))
}

/// A line to the provider, as soon as there is a turn.
pub(super) async fn wait_for_turn<'a>(
    origin: &'a Origin,
    client: &'a Client,
    shop: Shop<'a>,
    calls: u32,
) -> Result<Line<'a>, DbError> {
    let mut held = None;
    loop {
        let at = match turn(origin, client, shop, calls, held).await? {
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
    use tollgate_shared::id::PaymentId;
    use tollgate_shared::money::{Minor, Money};
    use tollgate_shared::time::Timestamp;
    use uuid::Uuid;

    use super::{Difference, difference};
    use crate::db::polls::AskedPayment;

    fn payment(settled_minor: i64, refunded_minor: i64) -> AskedPayment {
        AskedPayment {
            id: PaymentId::from_uuid(Uuid::nil()),
            provider: "ecpay".to_owned(),
            merchant: None,
            order: "O1".parse().unwrap(),
            ordered_at: Timestamp::from_unix_ms(0),
            price: Money::twd(300),
            settled_minor: Minor::new(settled_minor),
            refunded_minor: Minor::new(refunded_minor),
        }
    }

    #[test]
    fn op_5_both_sides_agree_or_it_is_told_how_they_do_not() {
        for (before, refunded, after, paid_there, expected) in [
            (0, 0, 0, false, None),
            (300, 0, 300, true, None),
            (0, 0, 300, true, Some(Difference::Recovered)),
            (0, 0, 0, true, Some(Difference::NotBooked)),
            (300, 0, 300, false, Some(Difference::NotPaidThere)),
            (300, 299, 300, false, Some(Difference::NotPaidThere)),
            (300, 300, 300, false, None),
            (300, 300, 300, true, None),
        ] {
            let found = difference(&payment(before, refunded), Minor::new(after), paid_there);
            assert_eq!(found, expected, "{before} {refunded} {after} {paid_there}");
        }
    }
}
