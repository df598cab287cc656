//! Numbers that the providers give out: trades, authorisations, codes.
//!
//! `world` holds one counter; `trade` and the checkouts draw from it.
//!
//! Invariant: no number is given out twice in one run, and none repeats after a restart at a later second, because
//! each carries the time. The shapes are those recorded from the providers: 16 digits for an ECPay trade, **20** for
//! a later period (more than a `u64` holds), 19 for PAYUNi.
//! Not here: whether an order number of a merchant is free (`world`).

use tollgate_shared::time::Timestamp;

use crate::trade::Provider;

/// The one counter behind every number.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    drawn: u64,
}

impl Numbers {
    fn draw(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(1);
        self.drawn
    }

    /// A trade's number at a provider.
    pub(crate) fn trade_no(&mut self, provider: Provider, now: Timestamp) -> String {
        let drawn = self.draw();
        match provider {
            Provider::Ecpay => format!("{}{:04}", stamp(now, "%y%m%d%H%M%S"), last_digits(drawn, 10_000)),
            Provider::Payuni => format!("{}{:09}", now.unix_seconds(), last_digits(drawn, 1_000_000_000)),
            Provider::Mock => format!("mock-{}-{drawn}", now.unix_seconds()),
        }
    }

    /// The number of a later charge of a contract.
    pub(crate) fn period_trade_no(&mut self, provider: Provider, now: Timestamp) -> String {
        match provider {
            Provider::Ecpay => format!(
                "{}{:06}",
                stamp(now, "%Y%m%d%H%M%S"),
                last_digits(self.draw(), 1_000_000)
            ),
            Provider::Payuni | Provider::Mock => self.trade_no(provider, now),
        }
    }

    /// PAYUNi's number of a contract, in the shape of its documentation's sample.
    pub(crate) fn payuni_contract_no(&mut self, now: Timestamp) -> String {
        format!(
            "{}S{:05}",
            stamp(now, "%Y%m%d%H%M%S"),
            last_digits(self.draw(), 100_000)
        )
    }

    /// ECPay's authorisation number: eight digits. Unique in one run; with the order number it is unique for ever.
    pub(crate) fn gwsr(&mut self) -> String {
        (14_000_000_u64.saturating_add(last_digits(self.draw(), 80_000_000))).to_string()
    }

    /// A running number for messages.
    pub(crate) fn serial(&mut self) -> u64 {
        self.draw()
    }
}

const fn last_digits(number: u64, modulus: u64) -> u64 {
    match number.checked_rem(modulus) {
        Some(rest) => rest,
        None => 0,
    }
}

fn stamp(now: Timestamp, format: &str) -> String {
    now.to_taipei(format)
        .unwrap_or_else(|| now.unix_seconds().to_string())
}

#[cfg(test)]
mod tests {
    use super::Numbers;
    use crate::trade::Provider;
    use tollgate_shared::time::Timestamp;

    #[test]
    fn numbers_have_the_recorded_shapes() {
        let now = Timestamp::from_unix_seconds(1_788_000_000);
        let mut numbers = Numbers::default();
        assert_eq!(numbers.trade_no(Provider::Ecpay, now).len(), 16);
        assert_eq!(numbers.trade_no(Provider::Payuni, now).len(), 19);
        let later_period = numbers.period_trade_no(Provider::Ecpay, now);
        assert_eq!(later_period.len(), 20);
        assert!(
            later_period.parse::<u64>().is_err(),
            "a TradeNo must not be read as a u64: {later_period}"
        );
        assert_ne!(numbers.gwsr(), numbers.gwsr());
    }
}
