//! Whether a refused card is worth another try.
//!
//! normalise → a [`Decline`] → **hardness** → dunning (`origin::domain`), which stops early at a hard one (EC-2).
//!
//! Invariant: only a code that some source explains is hard or soft; every other is [`Hardness::Unknown`], and an unknown
//! one is to be treated as soft: a retry too many costs a fee, a customer given up too early costs the customer.
//! Two spaces of codes, and no code is in both: a bank's response code (ISO 8583 field 39, PAYUNi `ResCode`; reference
//! A.12 names 00, 51 and 54, the others are the standard's), and ECPay's RtnCode (page 2878, "common states").

use crate::event::Decline;

/// Whether another try of the same card can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardness {
    /// Not before the customer brings another card.
    Hard,
    /// Perhaps, on another day.
    Soft,
    /// Nobody explains the code; treat it as soft.
    Unknown,
}

/// Asks the bank's code where the decline has one, else the provider's.
#[must_use]
pub fn decline_hardness(decline: &Decline) -> Hardness {
    match &decline.bank_code {
        Some(code) => of_bank_code(code),
        None => of_ecpay_code(&decline.code),
    }
}

/// ISO 8583 field 39, as card schemes use it.
fn of_bank_code(code: &str) -> Hardness {
    match code {
        // 04, 07 pick up the card; 14 no such number; 15 no such issuer; 41 lost; 43 stolen; 46 closed account;
        // 54 expired; 57, 62 the cardholder or the card may not do this; 78 no account.
        "04" | "07" | "14" | "15" | "41" | "43" | "46" | "54" | "57" | "62" | "78" => Hardness::Hard,
        // 01 call the issuer; 05 do not honour; 19 try again; 51 not enough; 61, 65 over a limit; 91 issuer is down;
        // 96 malfunction.
        "01" | "05" | "19" | "51" | "61" | "65" | "91" | "96" => Hardness::Soft,
        _ => Hardness::Unknown,
    }
}

fn of_ecpay_code(code: &str) -> Hardness {
    match code {
        // 卡片過期 expired; 報失卡 reported lost; 被盜用卡 stolen.
        "10100251" | "10100255" | "10100256" => Hardness::Hard,
        // Pay Fail; 拒絕交易 call the issuer; 額度不足 not enough; 交易失敗 a limit of the issuer.
        "10100058" | "10100248" | "10100252" | "10100254" => Hardness::Soft,
        _ => Hardness::Unknown,
    }
}
