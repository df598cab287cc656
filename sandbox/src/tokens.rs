//! Stored cards: what a merchant that charges by itself may use (PAYUNi A.11).
//!
//! a UPP payment with `UseTokenType` binds one → **[`Tokens`]** → `/api/credit` charges it, `/api/credit_bind/cancel` removes it.
//!
//! Invariants: a removed card is never charged; each card has declines and faulty answers of its own, so that one
//! customer's bank does not decide for another. Not here: the charge (`payuni::credit`).
//! Failure: an unknown or removed card is `None`.

use std::collections::BTreeMap;

use crate::contract::bank::Bank;
use crate::numbers::Numbers;
use crate::trade::Trade;
use tollgate_shared::time::Timestamp;

/// When every stored card expires (MMYY).
pub(crate) const LIFE: &str = "1230";

/// How the next charges are answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    /// So many charges are made and never answered.
    pub(crate) lost: u32,
    /// So many are answered UNKNOWN, and told a quarter of an hour later.
    pub(crate) unknown: u32,
}

/// How one charge is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Told,
    Lost,
    Unknown,
}

/// A stored card.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) merchant_id: String,
    /// The order whose payment bound it.
    pub(crate) order_number: String,
    /// The merchant's own reference (`CreditToken`).
    pub(crate) reference: String,
    pub(crate) removed: bool,
    pub(crate) bank: Bank,
    pub(crate) answers: Answers,
    /// The trades it was charged with.
    pub(crate) charged: Vec<String>,
}

impl Token {
    /// How the next charge is answered; what is used up is gone.
    pub(crate) const fn next_manner(&mut self) -> Manner {
        if let Some(rest) = self.answers.lost.checked_sub(1) {
            self.answers.lost = rest;
            return Manner::Lost;
        }
        if let Some(rest) = self.answers.unknown.checked_sub(1) {
            self.answers.unknown = rest;
            return Manner::Unknown;
        }
        Manner::Told
    }
}

/// All stored cards, by `CreditHash`. Trades bound them, so their number is bounded by that of trades.
#[derive(Debug, Default)]
pub(crate) struct Tokens(BTreeMap<String, Token>);

impl Tokens {
    /// Binds the card of a paid trade.
    pub(crate) fn bind(&mut self, trade: &Trade, numbers: &mut Numbers, now: Timestamp) -> String {
        let hash = format!("CH{}{:014}", now.unix_seconds(), numbers.serial());
        let token = Token {
            merchant_id: trade.merchant_id.clone(),
            order_number: trade.order_number.clone(),
            reference: trade.field("CreditToken").to_owned(),
            removed: false,
            bank: Bank::default(),
            answers: Answers::default(),
            charged: Vec::new(),
        };
        self.0.insert(hash.clone(), token);
        hash
    }

    /// A card of a merchant that can be charged.
    pub(crate) fn usable(&mut self, merchant_id: &str, hash: &str) -> Option<&mut Token> {
        let token = self.0.get_mut(hash)?;
        (token.merchant_id == merchant_id && !token.removed).then_some(token)
    }

    /// Removes a card by its hash, or all cards of the merchant's own reference; how many there were.
    pub(crate) fn remove(&mut self, merchant_id: &str, by_hash: bool, value: &str) -> usize {
        let named = self.0.iter_mut().filter(|(hash, token)| {
            let name = if by_hash {
                hash.as_str()
            } else {
                token.reference.as_str()
            };
            token.merchant_id == merchant_id && !token.removed && name == value
        });
        named.map(|(_, token)| token.removed = true).count()
    }

    /// The newest card that an order bound, or that a merchant's own reference names.
    pub(crate) fn named(&mut self, name: &str) -> Option<(&String, &mut Token)> {
        self.0
            .iter_mut()
            .rfind(|(_, token)| token.order_number == name || token.reference == name)
    }
}
