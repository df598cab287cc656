//! Whether a genuine notice about money matches what we ordered.
//!
//! `apply` finds the payment by order number → **charge** → settle, or a dispute for a person.
//!
//! Invariant: a refusal here is final for the notice (acknowledged, recorded, no money moved); the order of the
//! refusals is part of the contract, so that a notice wrong in two ways is always told by the same name.
//! Not here: signatures (`shared`), whether the charge is already known (a unique key in Postgres).

use tollgate_shared::id::MerchantId;
use tollgate_shared::money::Money;
use tollgate_shared::time::Timestamp;

/// What we created at checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ordered {
    /// The shop that the order was placed with; `None` at a provider that knows no shops (mock).
    pub(crate) merchant: Option<MerchantId>,
    /// The amount of its only charge, or of the first.
    pub(crate) price: Money,
    /// The amount of a later one.
    pub(crate) period_price: Money,
    /// Whether it is charged periodically.
    pub(crate) periodic: bool,
}

/// Which charge of an order a notice speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The only one, or the first.
    First,
    /// That of a period, where the notice says which.
    Period(Option<u32>),
    /// Any: one that was told before.
    Any,
}

/// What a notice says about money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told<'a> {
    /// The shop that the notice speaks of.
    pub(crate) merchant: Option<&'a MerchantId>,
    /// The amount of the charge.
    pub(crate) money: Money,
    /// Which charge it is.
    pub(crate) which: Which,
}

/// How a notice differs from what we ordered, or what did not follow its money. The labels are those of `disputes.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DisputeKind {
    /// No order of that number at that provider.
    UnknownOrder,
    /// The order was placed with another shop.
    MerchantMismatch,
    /// A charge of a period for an order that is charged once.
    UnexpectedPeriod,
    /// Another amount or currency.
    AmountMismatch,
    /// The charge is known, and belongs to another order.
    ChargeOfAnotherOrder,
    /// A charge that had settled is told as refused or cancelled.
    ChargeReversed,
    /// A charge that buys tokens is booked, and they could not be given.
    TokensNotGranted,
    /// A charge that bought tokens is paid back, and not all of them could be taken back.
    RefundedTokensSpent,
    /// A charge that we paid back in part is told as paid back as a whole.
    RefundUnclear,
}

impl DisputeKind {
    /// The label in `disputes.kind`.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::UnknownOrder => "unknown_order",
            Self::MerchantMismatch => "merchant_mismatch",
            Self::UnexpectedPeriod => "unexpected_period",
            Self::AmountMismatch => "amount_mismatch",
            Self::ChargeOfAnotherOrder => "charge_of_another_order",
            Self::ChargeReversed => "charge_reversed",
            Self::TokensNotGranted => "tokens_not_granted",
            Self::RefundedTokensSpent => "refunded_tokens_spent",
            Self::RefundUnclear => "refund_unclear",
        }
    }

    /// What a person reads first.
    pub(crate) const fn detail(self) -> &'static str {
        match self {
            Self::UnknownOrder => {
                "The notice is genuine, but no order of this number was placed with the provider here."
            }
            Self::MerchantMismatch => {
                "The notice speaks of another shop than the one the order was placed with."
            }
            Self::UnexpectedPeriod => "The notice tells a period's charge of an order that is charged once.",
            Self::AmountMismatch => "The notice tells another amount or currency than was ordered.",
            Self::ChargeOfAnotherOrder => "The provider's number of this charge belongs to another order.",
            Self::ChargeReversed => {
                "A charge that had settled was cancelled or refused afterwards: was the money paid back?"
            }
            Self::TokensNotGranted => {
                "The charge is booked, but the tokens that it buys could not be given: give them, or pay it back."
            }
            Self::RefundUnclear => {
                "We paid the charge back in part, and the notice tells of the whole: was the rest paid back too?"
            }
            Self::RefundedTokensSpent => {
                "The charge was paid back, but some of its tokens were spent before, or a job still holds them."
            }
        }
    }
}

/// Refuses a charge that is not the one we ordered. The other kinds are the database's to find: before
/// and after this.
pub(crate) fn check(ordered: &Ordered, told: &Told<'_>) -> Result<(), DisputeKind> {
    if told.merchant != ordered.merchant.as_ref() {
        return Err(DisputeKind::MerchantMismatch);
    }
    if matches!(told.which, Which::Period(_)) && !ordered.periodic {
        return Err(DisputeKind::UnexpectedPeriod);
    }
    if is_price(ordered, told) {
        Ok(())
    } else {
        Err(DisputeKind::AmountMismatch)
    }
}

/// PU-1's first amount is that of period 1 and of no other.
fn is_price(ordered: &Ordered, told: &Told<'_>) -> bool {
    match told.which {
        Which::First | Which::Period(Some(1)) => told.money == ordered.price,
        Which::Period(Some(_)) => told.money == ordered.period_price,
        Which::Period(None) | Which::Any => told.money == ordered.price || told.money == ordered.period_price,
    }
}

/// Whether a refusal under the number of a settled charge takes that charge back. A cancellation does; an attempt
/// that was refused before the money came has merely arrived late, and tells nothing of the charge.
pub(crate) fn takes_back(cancels: bool, charged_at: Timestamp, refused_at: Timestamp) -> bool {
    cancels || refused_at > charged_at
}

#[cfg(test)]
mod tests {
    use tollgate_shared::id::MerchantId;
    use tollgate_shared::money::Money;

    use super::{DisputeKind, Ordered, Told, Which, check};

    /// merchant told | amount told | which? | order is periodic? | verdict; the order is 3002607's: NT$300, and NT$99 first
    /// where that is said
    const TABLE: &str = "
        3002607 | 300 | -      | -        | ok
        3002607 | 300 | -      | periodic | ok
        3002607 | 300 | period | periodic | ok
        2000132 | 300 | -      | -        | merchant_mismatch
        -       | 300 | -      | -        | merchant_mismatch
        2000132 | 1   | period | -        | merchant_mismatch
        3002607 | 300 | period | -        | unexpected_period
        3002607 | 1   | period | -        | unexpected_period
        3002607 | 299 | -      | -        | amount_mismatch
        3002607 | 301 | period | periodic | amount_mismatch
        3002607 | 1   | period | periodic | amount_mismatch
        3002607 | 0   | -      | -        | amount_mismatch
        3002607 | 99  | -      | 99 first | ok
        3002607 | 300 | -      | 99 first | amount_mismatch
        3002607 | 99  | 1      | 99 first | ok
        3002607 | 300 | 1      | 99 first | amount_mismatch
        3002607 | 300 | 2      | 99 first | ok
        3002607 | 99  | 2      | 99 first | amount_mismatch
        3002607 | 99  | period | 99 first | ok
        3002607 | 300 | period | 99 first | ok
        3002607 | 1   | period | 99 first | amount_mismatch
        3002607 | 99  | any    | 99 first | ok
        3002607 | 300 | any    | 99 first | ok
        3002607 | 301 | any    | 99 first | amount_mismatch
        3002607 | 300 | 1      | periodic | ok
        3002607 | 300 | 2      | -        | unexpected_period
    ";

    #[test]
    fn pm_4_pu_1_a_charge_that_was_not_ordered_moves_no_money() {
        for row in TABLE.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let ordered = Ordered {
                merchant: "3002607".parse().ok(),
                price: Money::twd(if cells[3] == "99 first" { 99 } else { 300 }),
                period_price: Money::twd(300),
                periodic: cells[3] != "-",
            };
            let merchant: Option<MerchantId> = cells[0].parse().ok().filter(|_| cells[0] != "-");
            let told = Told {
                merchant: merchant.as_ref(),
                money: Money::twd(cells[1].parse().unwrap()),
                which: match cells[2] {
                    "-" => Which::First,
                    "any" => Which::Any,
                    number => Which::Period(number.parse().ok()),
                },
            };
            let verdict = check(&ordered, &told).map_or_else(DisputeKind::label, |()| "ok");
            assert_eq!(verdict, cells[4], "{row}");
        }
    }
}
