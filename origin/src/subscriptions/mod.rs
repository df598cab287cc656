//! Subscriptions that renew: everything that changes one, and the one way in which it is recomputed.
//!
//! apply (attempts), http (wishes), effects (what a provider said), `sweep` (time) → a fact → **refold** → row, history,
//! notices, effects.
//!
//! Invariants: a change is a fact that is added; the row is recomputed from all facts under its lock (DESIGN.md,
//! Subscriptions), so order and number of arrivals leave no trace. Every effect and notice is written in the transaction
//! of the step that decides it, under the step's name. Nothing here calls the network.
//! Not here: the rules (`domain::subscription`), sending (`effects`), SQL (`db::subscriptions`).

mod attempt;
mod binding;
mod by_hand;
mod change;
pub(crate) mod event_line;
mod id;
pub(crate) mod number;
mod plan;
mod refold;
mod state;
mod sweep;
mod tell;
mod view;
mod wanted;

use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

use crate::Origin;
use crate::config::NoticesConfig;
use crate::db::DbError;
use crate::db::Retry;
use crate::domain::subscription::Policy;

pub(crate) use self::attempt::{Attempt, FoundBy, RefusedRetry, note_attempt, note_refused_retry};
pub(crate) use self::binding::note_binding;
pub(crate) use self::by_hand::{Decision, Ended, HeldCharge, SettleError, settle_charge, tell_held};
pub(crate) use self::change::{CancelWhen, cancel, card_changed, note_fact, pause, resume, retry_now};
pub(crate) use self::id::SubscriptionId;
pub(crate) use self::plan::{Preview, WantedPlan, change_plan, lock_replaced, preview, replaceable};
pub(crate) use self::sweep::{Swept, sweep};
pub(crate) use self::view::{View, view, views_of_user};
pub(crate) use self::wanted::{CANCEL, CHARGE, PAUSE, POLL, RESUME, RETRY};
pub(crate) use crate::db::subscriptions::facts::NewFact;

/// What the rules and the telling need of the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The schedule of dunning.
    pub(crate) policy: &'a Policy,
    /// Where notices go.
    pub(crate) notices: &'a NoticesConfig,
}

/// A wish, and who has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// About which.
    pub(crate) subscription: SubscriptionId,
    /// `user`, `admin:<caller>` or `service:<caller>`.
    pub(crate) actor: &'a str,
    /// Names the wish: asked twice, it is one fact.
    pub(crate) key: &'a str,
    /// When.
    pub(crate) now: Timestamp,
}

/// Why a subscription is not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// There is none of this id.
    #[error("there is no such subscription")]
    Unknown,
    /// No charge has come yet.
    #[error("the subscription has not begun")]
    NotBegun,
    /// It is over, or its end was asked for.
    #[error("the subscription is over or about to end")]
    Ending,
    /// Nothing is owed, so there is nothing to try again.
    #[error("no charge of the subscription was refused")]
    NothingOwed,
    /// Something is owed; pay first.
    #[error("a charge of the subscription was refused and is still owed")]
    Owed,
    /// It rests already.
    #[error("the subscription is paused")]
    Paused,
    /// It does not rest.
    #[error("the subscription is not paused")]
    NotPaused,
    /// The provider cannot do this to a contract.
    #[error("the provider of this subscription cannot do that")]
    NotSupported,
    /// An attempt is under way; its result decides.
    #[error("an attempt to charge is under way")]
    UnderWay,
    /// New cards were told too often.
    #[error("new cards were told too often")]
    TooOften {
        /// From when another may be told.
        until: Timestamp,
        /// When this one was.
        now: Timestamp,
    },
    /// No plan of that id is sold.
    #[error("no such plan")]
    UnknownPlan,
    /// The plan is not one that this subscription can become.
    #[error("the subscription cannot become this plan: {0}")]
    Plan(&'static str),
    /// It takes a new contract, which only the customer can conclude.
    #[error("the change takes a checkout")]
    OnlyByCheckout,
    /// It takes no new contract, but goes this other way.
    #[error("the change takes no checkout: {0}")]
    NotByCheckout(&'static str),
    /// The change costs something else than the caller was told.
    #[error("the change costs {due_minor} now")]
    OtherDue {
        /// How much.
        due_minor: Minor,
    },
    /// The database did not do its work.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Retry for ChangeError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Db(error) if error.is_conflict())
    }
}

impl Origin {
    /// What `subscriptions` needs of the configuration.
    pub(crate) fn subscriptions(&self) -> Context<'_> {
        Context {
            policy: &self.config.subscriptions.policy,
            notices: &self.config.notices,
        }
    }
}
