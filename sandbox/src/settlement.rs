//! What happens to the money of a card charge after it was authorised: captured, given up, refunded.
//!
//! a successful charge → **[`Settlement`]** ⇄ ECPay `DoAction` (§1.7.3), PAYUNi `trade/close` and `trade/cancel` (A.10).
//!
//! Invariants: never more is refunded than was charged; what was given up cannot be captured or refunded. Both
//! providers capture by themselves at a daily hour, so a charge waits for that hour from the start; taking it out of
//! the capture leaves a mere authorisation.
//! Not here: codes and field names. Failure: [`Unfit`], worded by each provider.

use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

use crate::contract::schedule::{day_at, instant};
use crate::trade::{Method, Status, Trade};

/// Where the money of a charge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Authorised,
    ToBeCaptured,
    Captured,
    GivenUp,
}

impl Standing {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Authorised => "authorised",
            Self::ToBeCaptured => "to_be_captured",
            Self::Captured => "captured",
            Self::GivenUp => "given_up",
        }
    }
}

/// Why a charge's money cannot be moved as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("the charge does not stand where this is possible")]
    Standing,
    #[error("the amount is more than is left of the charge, or not above 0")]
    Amount,
    #[error(
        "a charge that is not captured yet is refunded in full by taking it out of the capture and giving it up"
    )]
    NotInFull,
    #[error("there is no refund that can be undone")]
    NoRefund,
}

/// Money that went back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refund {
    pub(crate) amount: Minor,
    pub(crate) at: Timestamp,
}

/// The money of one charge.
#[derive(Debug, Clone)]
pub(crate) struct Settlement {
    pub(crate) amount: Minor,
    /// When the daily capture happens, in minutes after midnight in Taiwan.
    capture_minute_of_day: u32,
    /// Since when it waits for the capture.
    waits_since: Option<Timestamp>,
    given_up: bool,
    pub(crate) refunds: Vec<Refund>,
}

impl Settlement {
    const fn authorised(amount: Minor, at: Timestamp, capture_minute_of_day: u32) -> Self {
        Self {
            amount,
            capture_minute_of_day,
            waits_since: Some(at),
            given_up: false,
            refunds: Vec::new(),
        }
    }

    pub(crate) fn standing(&self, now: Timestamp) -> Standing {
        if self.given_up {
            return Standing::GivenUp;
        }
        match self.waits_since {
            None => Standing::Authorised,
            Some(since) if self.hour_after(since).is_some_and(|hour| hour <= now) => Standing::Captured,
            Some(_) => Standing::ToBeCaptured,
        }
    }

    /// The first daily capture after an instant.
    fn hour_after(&self, since: Timestamp) -> Option<Timestamp> {
        let day = day_at(since)?;
        let today = instant(day, self.capture_minute_of_day)?;
        if today > since {
            return Some(today);
        }
        instant(day.tomorrow().ok()?, self.capture_minute_of_day)
    }

    /// What went back so far.
    pub(crate) fn refunded(&self) -> Minor {
        self.refunds
            .iter()
            .try_fold(Minor::ZERO, |sum, refund| sum.checked_add(refund.amount))
            .unwrap_or(Minor::ZERO)
    }

    /// What is left of the charge.
    pub(crate) fn left(&self) -> Minor {
        let back = self.refunded().checked_neg();
        back.and_then(|back| self.amount.checked_add(back))
            .unwrap_or(Minor::ZERO)
    }

    /// Puts an authorisation into the next capture.
    pub(crate) fn capture(&mut self, amount: Minor, now: Timestamp) -> Result<(), Unfit> {
        if self.standing(now) != Standing::Authorised {
            return Err(Unfit::Standing);
        }
        self.check_whole(amount)?;
        self.waits_since = Some(now);
        Ok(())
    }

    /// Takes a charge out of the capture.
    pub(crate) fn undo_capture(&mut self, now: Timestamp) -> Result<(), Unfit> {
        if self.standing(now) != Standing::ToBeCaptured || !self.refunds.is_empty() {
            return Err(Unfit::Standing);
        }
        self.waits_since = None;
        Ok(())
    }

    /// Gives an authorisation up: the customer is never asked for the money.
    pub(crate) fn give_up(&mut self, now: Timestamp) -> Result<(), Unfit> {
        if self.standing(now) != Standing::Authorised {
            return Err(Unfit::Standing);
        }
        self.given_up = true;
        Ok(())
    }

    /// Refunds a part, or all of a captured charge.
    pub(crate) fn refund(&mut self, amount: Minor, now: Timestamp) -> Result<(), Unfit> {
        let standing = self.standing(now);
        if !matches!(standing, Standing::ToBeCaptured | Standing::Captured) {
            return Err(Unfit::Standing);
        }
        if amount <= Minor::ZERO || amount > self.left() {
            return Err(Unfit::Amount);
        }
        if standing == Standing::ToBeCaptured && amount == self.left() {
            return Err(Unfit::NotInFull);
        }
        self.refunds.push(Refund { amount, at: now });
        Ok(())
    }

    /// Takes the last refund back, before the next daily run has carried it out.
    pub(crate) fn undo_refund(&mut self, now: Timestamp) -> Result<(), Unfit> {
        let last = self.refunds.last().copied().ok_or(Unfit::NoRefund)?;
        let carried_out = self.hour_after(last.at).is_some_and(|hour| hour <= now);
        if carried_out {
            return Err(Unfit::NoRefund);
        }
        self.refunds.pop();
        Ok(())
    }

    /// A partial capture is not played: nothing says whether the rest is given up.
    pub(crate) fn check_whole(&self, amount: Minor) -> Result<(), Unfit> {
        if amount == self.amount {
            Ok(())
        } else {
            Err(Unfit::Amount)
        }
    }
}

impl Trade {
    /// The money of one of this trade's card charges, by the number of the charge.
    pub(crate) fn settlement_mut(
        &mut self,
        trade_no: &str,
        capture_minute_of_day: u32,
    ) -> Option<&mut Settlement> {
        let (amount, at) = self.charged(trade_no)?;
        Some(
            self.settlements
                .entry(trade_no.to_owned())
                .or_insert_with(|| Settlement::authorised(amount, at, capture_minute_of_day)),
        )
    }

    /// A successful card charge. The NT$1 that binds a card is none.
    pub(crate) fn charged(&self, trade_no: &str) -> Option<(Minor, Timestamp)> {
        if let Some(contract) = &self.contract {
            let charge = contract.succeeded().find(|charge| charge.trade_no == trade_no)?;
            return Some((charge.amount, charge.at));
        }
        let paid_by_card = self.status == Status::Paid && self.method == Some(Method::Credit);
        let at = self
            .settled_at
            .filter(|_| paid_by_card && self.trade_no == trade_no)?;
        Some((self.amount, at))
    }
}

#[cfg(test)]
mod tests {
    use tollgate_shared::money::Minor;
    use tollgate_shared::time::Timestamp;

    use super::Settlement;

    /// `moves, each with the hour it is made | answer of the last move, standing afterwards, what is left`.
    ///
    /// The charge of 300 is made at 10:00, the capture is at 20:15.
    const TABLE: &str = "
11 C300           | Err(Standing) to_be_captured 300
11 E              | Ok(()) authorised 300
11 E 12 N         | Ok(()) given_up 300
11 N              | Err(Standing) to_be_captured 300
11 E 12 C300      | Ok(()) to_be_captured 300
11 E 12 C300 21 E | Err(Standing) captured 300
11 E 12 C299      | Err(Amount) authorised 300
11 E 21 R100      | Err(Standing) authorised 300
11 R100           | Ok(()) to_be_captured 200
11 R300           | Err(NotInFull) to_be_captured 300
11 R100 12 R200   | Err(NotInFull) to_be_captured 200
11 R100 12 E      | Err(Standing) to_be_captured 200
11 R0             | Err(Amount) to_be_captured 300
21 E              | Err(Standing) captured 300
21 N              | Err(Standing) captured 300
21 R300           | Ok(()) captured 0
21 R100 22 R100   | Ok(()) captured 100
21 R200 22 R101   | Err(Amount) captured 100
21 R300 22 R1     | Err(Amount) captured 0
21 U              | Err(NoRefund) captured 300
21 R100 22 U      | Ok(()) captured 300
21 R100 46 U      | Err(NoRefund) captured 200
11 E 12 N 13 N    | Err(Standing) given_up 300
11 E 12 N 13 R1   | Err(Standing) given_up 300
";

    fn hour(hour: u32) -> Timestamp {
        let midnight = Timestamp::from_taipei("%Y-%m-%d %H:%M", "2027-01-15 00:00").unwrap();
        midnight.plus(std::time::Duration::from_hours(u64::from(hour)))
    }

    #[test]
    fn every_move_of_a_charges_money_answers_as_the_table_says() {
        let mut rows = 0;
        for line in TABLE.lines().filter(|line| !line.is_empty()) {
            let (moves, expected) = line.split_once('|').unwrap();
            let mut settlement = Settlement::authorised(Minor::new(300), hour(10), 20 * 60 + 15);
            let words: Vec<&str> = moves.split_whitespace().collect();
            let (mut answer, mut now) = (Ok(()), hour(10));
            for step in words.chunks(2) {
                now = hour(step[0].parse().unwrap());
                let amount = Minor::new(step[1][1..].parse().unwrap_or(0));
                answer = match &step[1][..1] {
                    "C" => settlement.capture(amount, now),
                    "E" => settlement.undo_capture(now),
                    "N" => settlement.give_up(now),
                    "R" => settlement.refund(amount, now),
                    _ => settlement.undo_refund(now),
                };
            }
            let standing = settlement.standing(now).as_str();
            let told = format!("{answer:?} {standing} {}", settlement.left());
            assert_eq!(told, expected.trim(), "{line}");
            rows += 1;
        }
        assert_eq!(rows, 24);
    }

    #[test]
    fn a_charge_of_the_very_hour_waits_for_the_next_capture() {
        let hour_of_capture = hour(20).plus(std::time::Duration::from_mins(15));
        let settlement = Settlement::authorised(Minor::new(300), hour_of_capture, 20 * 60 + 15);
        let standings = [hour_of_capture, hour(43), hour(45)].map(|now| settlement.standing(now).as_str());
        assert_eq!(standings, ["to_be_captured", "to_be_captured", "captured"]);
    }
}
