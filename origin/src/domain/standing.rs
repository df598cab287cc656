//! What a payment and a user are worth, recomputed from what is known.
//!
//! `apply` and `work::timeouts` load facts → **standing** → the status columns of `payments` and `users`.
//!
//! Invariant: state is recomputed, never adjusted. Both functions read sets, so a repeated or late notice gives
//! what it would have given in time; money that moved outranks every other fact (a paid notice after a failure,
//! a cancellation or a timeout still wins). Not here: which facts to believe (`charge`), until when (`expiry`).

use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

use super::expiry::{PaidCharge, Span, expires_at};
use super::plan::FREE;

/// PM-1's `payment_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PaymentStatus {
    /// A user who never tried to pay.
    None,
    /// Waiting for the provider.
    Pending,
    /// Paid for.
    Active,
    /// Refused by the provider.
    Failed,
    /// Given up, by the user or by time.
    Canceled,
    /// Paid and paid back.
    Refunded,
}

impl PaymentStatus {
    /// Every status, in the order of the database's enum.
    pub(crate) const ALL: [Self; 6] = [
        Self::None,
        Self::Pending,
        Self::Active,
        Self::Failed,
        Self::Canceled,
        Self::Refunded,
    ];

    /// The label in the database and in answers.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Refunded => "refunded",
        }
    }

    /// The status of a label.
    pub(crate) fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.label() == label)
    }
}

/// What is known about one payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PaymentFacts {
    /// The sum of charges that came, paid back or not.
    pub(crate) settled_minor: Minor,
    /// The sum of charges that were paid back.
    pub(crate) refunded_minor: Minor,
    /// Whether the provider told of a refused attempt.
    pub(crate) failed: bool,
    /// Whether it was given up.
    pub(crate) canceled: bool,
}

/// The status that the facts of a payment amount to.
pub(crate) fn payment_status(facts: PaymentFacts) -> PaymentStatus {
    if facts.settled_minor > facts.refunded_minor {
        PaymentStatus::Active
    } else if facts.settled_minor > Minor::ZERO {
        PaymentStatus::Refunded
    } else if facts.failed {
        PaymentStatus::Failed
    } else if facts.canceled {
        PaymentStatus::Canceled
    } else {
        PaymentStatus::Pending
    }
}

/// One settled charge of a user, of whichever payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserCharge {
    /// When it was charged.
    pub(crate) paid_at: Timestamp,
    /// Whether it was paid back.
    pub(crate) refunded: bool,
    /// Whether it was made for a subscription, which says itself what it gives.
    pub(crate) is_of_subscription: bool,
    /// What it gives; `None`: no subscription.
    pub(crate) subscription_type: Option<String>,
    /// For how long.
    pub(crate) span: Span,
    /// Whether the provider will charge again.
    pub(crate) renews_itself: bool,
    /// Who charged it.
    pub(crate) provider: String,
    /// The provider's number of it.
    pub(crate) reference: String,
}

/// PM-1's columns of `users`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserStanding {
    /// Active while a charge is kept, else the newest payment's.
    pub(crate) payment_status: PaymentStatus,
    /// What the newest kept charge gives.
    pub(crate) subscription_type: Option<String>,
    /// The first instant that is not paid for.
    pub(crate) expires_at: Option<Timestamp>,
    /// Whether the provider charges again.
    pub(crate) auto_renew: bool,
    /// `last_payment_provider` and `last_payment_reference`.
    pub(crate) last_payment: Option<(String, String)>,
}

/// One subscription of a user, of which a charge was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserSubscription {
    /// What it gives.
    pub(crate) subscription_type: String,
    /// The first instant without access, grace included; `None`: it gives nothing.
    pub(crate) access_until: Option<Timestamp>,
    /// Whether its limits are those of FREE (EC-3).
    pub(crate) is_downgraded: bool,
    /// Whether another charge will come.
    pub(crate) renews_itself: bool,
    /// When its newest kept charge was made.
    pub(crate) paid_at: Timestamp,
    /// Who charged it.
    pub(crate) provider: String,
    /// The provider's number of that charge.
    pub(crate) reference: String,
}

/// Something that gives a type until an instant.
struct Grant<'a> {
    newness: (Timestamp, &'a str, &'a str),
    subscription_type: &'a str,
    until: Option<Timestamp>,
    renews_itself: bool,
}

impl Grant<'_> {
    fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// A user's standing: what was charged last says which type; all that give that type say until when. A subscription
/// whose payments failed gives FREE in the end, unless something else gives more (EC-3).
///
/// `latest` is the status of the user's newest payment; it shows only while no charge is kept.
pub(crate) fn user_standing(
    charges: &[UserCharge],
    subscriptions: &[UserSubscription],
    latest: PaymentStatus,
    now: Timestamp,
) -> UserStanding {
    let newest = charges.iter().max_by_key(|charge| newness(charge));
    let is_kept = charges.iter().any(|charge| !charge.refunded);
    let grants = grants(charges, subscriptions);
    let held = held(&grants, subscriptions, now);
    let free = subscriptions
        .iter()
        .filter(|subscription| subscription.is_downgraded);
    UserStanding {
        payment_status: if is_kept { PaymentStatus::Active } else { latest },
        expires_at: held.and_then(|held| latest_end(&grants, held.subscription_type)),
        auto_renew: held.map_or_else(
            || free.clone().any(|subscription| subscription.renews_itself),
            |held| held.renews_itself,
        ),
        subscription_type: match held {
            Some(held) => Some(held.subscription_type.to_owned()),
            None => free.clone().next().map(|_| FREE.to_owned()),
        },
        last_payment: newest.map(|charge| (charge.provider.clone(), charge.reference.clone())),
    }
}

/// The grant that says what the user has; none where that is FREE, or nothing.
fn held<'a, 'g>(
    grants: &'g [Grant<'a>],
    subscriptions: &[UserSubscription],
    now: Timestamp,
) -> Option<&'g Grant<'a>> {
    let is_downgraded = subscriptions
        .iter()
        .any(|subscription| subscription.is_downgraded);
    // What has ended is shown as ended, but never where FREE is what follows.
    grants
        .iter()
        .filter(|grant| !is_downgraded || grant.holds(now))
        .max_by_key(|grant| grant.newness)
}

fn grants<'a>(charges: &'a [UserCharge], subscriptions: &'a [UserSubscription]) -> Vec<Grant<'a>> {
    let of_charges = charges
        .iter()
        .filter(|charge| !charge.refunded && !charge.is_of_subscription)
        .filter_map(|charge| {
            let subscription_type = charge.subscription_type.as_deref()?;
            Some(Grant {
                newness: newness(charge),
                subscription_type,
                until: expires_at(&paid_for(charges, subscription_type)),
                renews_itself: charge.renews_itself,
            })
        });
    let of_subscriptions = subscriptions.iter().filter_map(|subscription| {
        Some(Grant {
            newness: (
                subscription.paid_at,
                subscription.provider.as_str(),
                subscription.reference.as_str(),
            ),
            subscription_type: &subscription.subscription_type,
            until: Some(subscription.access_until?),
            renews_itself: subscription.renews_itself,
        })
    });
    of_charges.chain(of_subscriptions).collect()
}

/// The last instant that anything of a type gives; `None`: for ever.
fn latest_end(grants: &[Grant<'_>], subscription_type: &str) -> Option<Timestamp> {
    let ends = grants
        .iter()
        .filter(|grant| grant.subscription_type == subscription_type)
        .map(|grant| grant.until);
    // An end that is not there is later than any other.
    ends.reduce(|one, other| one.zip(other).map(|(one, other)| one.max(other)))
        .flatten()
}

fn newness(charge: &UserCharge) -> (Timestamp, &str, &str) {
    (charge.paid_at, &charge.provider, &charge.reference)
}

fn paid_for(charges: &[UserCharge], subscription_type: &str) -> Vec<PaidCharge> {
    charges
        .iter()
        .filter(|charge| !charge.refunded && !charge.is_of_subscription)
        .filter(|charge| charge.subscription_type.as_deref() == Some(subscription_type))
        .map(|charge| PaidCharge {
            paid_at: charge.paid_at,
            span: charge.span,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, proptest};
    use tollgate_shared::money::Minor;
    use tollgate_shared::time::Timestamp;

    use super::{PaymentFacts, PaymentStatus, UserCharge, UserStanding, payment_status, user_standing};
    use crate::domain::expiry::Span;

    /// settled | refunded | failed | canceled | status
    const TABLE: &str = "
          0 |   0 | -      | -        | pending  | checkout, code issued, held
          0 |   0 | -      | canceled | canceled | given up, or timed out
          0 |   0 | failed | -        | failed   | refused
          0 |   0 | failed | canceled | failed   | refused, then timed out: the reason stays
        300 |   0 | -      | -        | active   | paid
        300 |   0 | failed | -        | active   | refused, then paid; or the two the other way round
        300 |   0 | -      | canceled | active   | timed out, then paid after all
        600 |   0 | -      | -        | active   | two periods
        600 | 300 | -      | -        | active   | one of two periods paid back
        300 | 300 | -      | -        | refunded | paid back
        300 | 300 | failed | canceled | refunded | whatever else was told
    ";

    #[test]
    fn pm_8_status_is_recomputed_from_facts() {
        let mut seen = vec![PaymentStatus::None];
        for row in TABLE.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let facts = PaymentFacts {
                settled_minor: Minor::new(cells[0].parse().unwrap()),
                refunded_minor: Minor::new(cells[1].parse().unwrap()),
                failed: cells[2] == "failed",
                canceled: cells[3] == "canceled",
            };
            assert_eq!(payment_status(facts).label(), cells[4], "{row}");
            seen.push(payment_status(facts));
        }
        assert!(
            PaymentStatus::ALL.iter().all(|status| seen.contains(status)),
            "a status has no row"
        );
    }

    fn charge(paid_at: i64, subscription_type: &str, refunded: bool) -> UserCharge {
        UserCharge {
            paid_at: Timestamp::from_unix_seconds(paid_at),
            refunded,
            is_of_subscription: false,
            subscription_type: Some(subscription_type.into()),
            span: Span::Days(30),
            renews_itself: false,
            provider: "ecpay".into(),
            reference: format!("T{paid_at}"),
        }
    }

    fn standing_of(charges: &[UserCharge], latest: PaymentStatus) -> UserStanding {
        user_standing(charges, &[], latest, Timestamp::from_unix_seconds(3_000_000))
    }

    #[test]
    fn pm_1_the_last_kept_charge_says_what_the_user_has() {
        let standing = standing_of(
            &[charge(2_000_000, "pro", false), charge(1_000_000, "basic", false)],
            PaymentStatus::Failed,
        );
        assert_eq!(standing.payment_status, PaymentStatus::Active);
        assert_eq!(standing.subscription_type.as_deref(), Some("pro"));
        assert_eq!(standing.last_payment, Some(("ecpay".into(), "T2000000".into())));
    }

    #[test]
    fn pm_8_a_refund_gives_back_what_the_charge_gave() {
        let kept = charge(1_000_000, "basic", false);
        let only = standing_of(std::slice::from_ref(&kept), PaymentStatus::Pending);
        let after = standing_of(&[kept, charge(2_000_000, "pro", true)], PaymentStatus::Refunded);
        assert_eq!(
            (&after.subscription_type, after.expires_at),
            (&only.subscription_type, only.expires_at)
        );
        let nothing = standing_of(&[charge(2_000_000, "pro", true)], PaymentStatus::Refunded);
        assert_eq!(nothing.payment_status, PaymentStatus::Refunded);
        assert_eq!((nothing.subscription_type, nothing.expires_at), (None, None));
    }

    proptest! {
        #[test]
        fn pm_8_standing_depends_on_the_set_of_charges_only(
            (charges, shuffled) in prop::collection::vec(
                (0_i64..9_000_000, any::<bool>(), any::<bool>()).prop_map(|(at, pro, refunded)|
                    charge(at, if pro { "pro" } else { "basic" }, refunded)), 0..7)
                .prop_flat_map(|charges| (Just(charges.clone()), Just(charges).prop_shuffle()))
        ) {
            assert_eq!(standing_of(&charges, PaymentStatus::Pending), standing_of(&shuffled, PaymentStatus::Pending));
        }
    }
}
