//! Step 2 for ECPay: is this notice ECPay's?
//!
//! receive → **verify** → normalise. The only maker of ECPay's `Verified`.
//!
//! The MAC is checked over whatever arrived (new fields appear without notice, reference §1.4.2), in constant
//! time, with the current and then the previous keys. What the MAC itself cannot protect is refused first (§1.1.4):
//! (1) it joins fields before it encodes them, so a value with `&` or a key with `&` or `=` could be other fields;
//! (2) it folds case, so `SimulatePaid=1` and `simulatepaid=1` have one MAC. Hence keys are unique *ignoring case*,
//! and `wire` reads them ignoring case: nobody can hide a field by respelling it.
//! Left to others: a repeat (no nonce exists, the event key finds it), and letter case inside values (an order
//! number in another case is an unknown order at the origin).

pub(super) mod observed;

use super::{EcpayKeys, mac};
use crate::crypto;
use crate::form::Form;
use crate::provider::{Refusal, Unverified};
use crate::secret::Rotating;

/// For a developer who set something up wrong; nothing here helps a forger.
const HINT: &str = "CheckMacValue does not match: is HashKey the stage key, and the encoding UTF-8?";

/// Which notice this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// ReturnURL: the result of a payment (§1.4.2).
    Payment,
    /// PaymentInfoURL: a code was issued (§1.4.4).
    Code,
    /// PeriodReturnURL: a charge of a periodic order (§1.4.3).
    Period,
}

/// A notice whose CheckMacValue was checked.
#[derive(Debug)]
pub struct Verified {
    pub(super) notice: Notice,
    pub(super) form: Form,
}

pub(super) fn verify(keys: &Rotating<EcpayKeys>, unverified: &Unverified<'_>) -> Result<Verified, Refusal> {
    let notice = match unverified.notice {
        "payment" => Notice::Payment,
        "code" => Notice::Code,
        "period" => Notice::Period,
        _ => return Err(Refusal::UnknownNotice),
    };
    let form = Form::parse(unverified.body).map_err(Refusal::Form)?;
    check_framing(&form)?;
    let given = form.get(mac::FIELD).ok_or(Refusal::Field(mac::FIELD))?;
    if !matches_any(keys, &form, given) {
        return Err(Refusal::SignatureMismatch { hint: HINT });
    }
    Ok(Verified { notice, form })
}

/// Whether the MAC is ours under any accepted pair of keys. Also for the signed answers of queries.
pub(super) fn matches_any(keys: &Rotating<EcpayKeys>, form: &Form, given: &str) -> bool {
    keys.accepted().any(|keys| {
        let (key, iv) = (keys.hash_key.expose(), keys.hash_iv.expose());
        crypto::equal_hex(
            &mac::digest(form.fields(), key, iv, mac::Algorithm::Sha256),
            given,
        )
    })
}

/// Refuses what the MAC cannot tell apart from something else.
pub(super) fn check_framing(form: &Form) -> Result<(), Refusal> {
    for (index, (key, value)) in form.fields().enumerate() {
        if key.is_empty()
            || !key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Err(Refusal::Malformed(
                "a field's name holds other characters than letters, digits and _",
            ));
        }
        if value.contains('&') {
            return Err(Refusal::Malformed(
                "a field's value holds &, which CheckMacValue cannot frame",
            ));
        }
        if form
            .fields()
            .take(index)
            .any(|(known, _)| known.eq_ignore_ascii_case(key))
        {
            return Err(Refusal::Malformed(
                "two fields differ in letter case only, which CheckMacValue cannot see",
            ));
        }
    }
    Ok(())
}
