//! Which handler a method and a path belong to.
//!
//! request → **route** → receive (webhooks) | checkout, article, status, balance, subscriptions, config, csrf, admin, health (browsers and operators).
//!
//! Invariant: matched by hand on both parts; a method that is not known is refused, never taken for GET
//! (the `worker` crate's `Method` maps PURGE and LINK to GET, reference 1.6). A path is matched as it came:
//! no decoding, no trailing slash. The aliases are those of the plans that Tollgate replaces (PM-4, PU-2, PU-3).
//! Not here: whether the source exists (`shared::provider`), or who may call.

use crate::admin::Action;

/// The part of a plan that a checkout route sells (PU-2: the type decides).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whatever the plan is.
    Any,
    /// One-off plans only.
    OneTime,
    /// Subscriptions only.
    Subscription,
}

impl Kind {
    /// As the origin reads it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::OneTime => "one_time",
            Self::Subscription => "subscription",
        }
    }
}

/// Which source a webhook path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    /// By its name.
    Source(&'a str),
    /// The provider that `PAYMENT_PROVIDER` names.
    Default,
}

/// A handler and what the path tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// A provider's notice.
    Webhook(Named<'a>, &'a str),
    /// A browser starts a payment.
    Checkout(Kind),
    /// A browser asks for an article.
    Article,
    /// A browser asks what may be spent.
    Balance,
    /// A browser asks how its payment is; the id as it stands in the path.
    Status(&'a str),
    /// A customer's browser brings the result of a provider's page; the payment's id as it stands in the path.
    Return(&'a str),
    /// A page asks which provider is configured.
    Config,
    /// A page asks for the token of its session.
    CsrfToken,
    /// A browser asks for its user's subscriptions.
    Subscriptions,
    /// A browser ends one of them; the id as it stands in the path.
    CancelSubscription(&'a str),
    /// A browser looks what another plan would cost.
    PreviewPlan(&'a str),
    /// A browser changes the plan of one of them.
    ChangePlan(&'a str),
    /// An operator, with the admin token.
    Admin(Action<'a>),
    /// An operator or a monitor asks how the edge is.
    Health,
    /// An operator or a monitor asks how each kind of webhook does.
    Stats,
    /// A browser asks whether it may call; the methods that it may use.
    Preflight(&'static str),
    /// The path exists, the method does not; the methods that do.
    WrongMethod(&'static str),
    /// No such path.
    Unknown,
    /// Verify and answer, nothing else (`cargo xtask bench edge`).
    #[cfg(feature = "bench")]
    BenchVerify,
    /// Panic, so that the recovery can be seen (`cargo xtask bench edge`).
    #[cfg(feature = "bench")]
    BenchPanic,
}

/// Finds the handler.
pub(crate) fn find<'a>(method: &str, path: &'a str) -> Route<'a> {
    let parts = path.strip_prefix('/').unwrap_or(path);
    let mut parts = parts.split('/');
    let segments = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    );
    let is_longer = parts.next().is_some();
    match segments {
        (Some("api"), Some("webhooks"), Some("health"), None, None) => get(method, Route::Health),
        (Some("api"), Some("webhooks"), Some("webhook-stats"), None, None) => get(method, Route::Stats),
        (Some("api"), Some("webhooks"), Some("ecpay-manual-retry"), None, None) => {
            post(method, Route::Admin(Action::Retry))
        }
        (Some("api"), Some("webhooks"), Some("trigger-maintenance"), None, None) => {
            post(method, Route::Admin(Action::Maintenance))
        }
        (Some("api"), Some("webhooks"), Some("subscription-status"), Some(user), None) => {
            get(method, Route::Admin(Action::Status(user)))
        }
        (Some("api"), Some("webhooks"), Some(source), Some(notice), None) => {
            post(method, Route::Webhook(Named::Source(source), notice))
        }
        (Some("api"), Some("payments"), Some("webhook"), None, None) => {
            post(method, Route::Webhook(Named::Default, "payment"))
        }
        (Some("webhook"), Some("period-notify"), None, None, None) => {
            post(method, Route::Webhook(Named::Source("payuni"), "period"))
        }
        (Some("api"), Some("payments"), Some("checkout"), None, None) => {
            browser(method, "POST", Route::Checkout(Kind::Any))
        }
        (Some("csrf-token"), None, ..) => browser(method, "GET", Route::CsrfToken),
        (Some("create-payment"), None, ..) => browser(method, "POST", Route::Checkout(Kind::OneTime)),
        (Some("create-subscription"), None, ..) => {
            browser(method, "POST", Route::Checkout(Kind::Subscription))
        }
        (Some("api"), Some("articles"), Some("generate"), None, None) => {
            browser(method, "POST", Route::Article)
        }
        (Some("api"), Some("billing"), Some("balance"), None, None) => browser(method, "GET", Route::Balance),
        (Some("api"), Some("subscriptions"), None, ..) => browser(method, "GET", Route::Subscriptions),
        (Some("api"), Some("subscriptions"), Some(id), Some("cancel"), None) => {
            browser(method, "POST", Route::CancelSubscription(id))
        }
        (Some("api"), Some("subscriptions"), Some(id), Some("change-plan"), None) => {
            browser(method, "POST", Route::ChangePlan(id))
        }
        (Some("api"), Some("subscriptions"), Some(id), Some("change-plan"), Some("preview"))
            if !is_longer =>
        {
            browser(method, "POST", Route::PreviewPlan(id))
        }
        (Some("api"), Some("payments"), Some("config"), None, None) => browser(method, "GET", Route::Config),
        (Some("api"), Some("payments"), Some(id), Some("status"), None) => {
            browser(method, "GET", Route::Status(id))
        }
        (Some("api"), Some("payments"), Some(id), Some("return"), None) => post(method, Route::Return(id)),
        #[cfg(feature = "bench")]
        (Some("bench"), Some("verify"), None, None, None) => post(method, Route::BenchVerify),
        #[cfg(feature = "bench")]
        (Some("bench"), Some("panic"), None, None, None) => post(method, Route::BenchPanic),
        _ => Route::Unknown,
    }
}

fn get<'a>(method: &str, route: Route<'a>) -> Route<'a> {
    if method == "GET" {
        route
    } else {
        Route::WrongMethod("GET")
    }
}

fn post<'a>(method: &str, route: Route<'a>) -> Route<'a> {
    if method == "POST" {
        route
    } else {
        Route::WrongMethod("POST")
    }
}

/// A route that pages of another origin may call: it also answers the browser's question beforehand.
fn browser<'a>(method: &str, allowed: &'static str, route: Route<'a>) -> Route<'a> {
    match method {
        "OPTIONS" => Route::Preflight(allowed),
        method if method == allowed => route,
        _ if allowed == "GET" => Route::WrongMethod("GET, OPTIONS"),
        _ => Route::WrongMethod("POST, OPTIONS"),
    }
}

impl Route<'_> {
    /// The name under which the log knows the route: few values, and nothing that a caller chose.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Webhook(..) => "webhook",
            Self::Checkout(_) => "checkout",
            Self::Article => "article",
            Self::Balance => "balance",
            Self::Status(_) => "status",
            Self::Return(_) => "return",
            Self::Config => "config",
            Self::CsrfToken => "csrf-token",
            Self::Subscriptions => "subscriptions",
            Self::CancelSubscription(_) => "cancel-subscription",
            Self::PreviewPlan(_) => "preview-plan",
            Self::ChangePlan(_) => "change-plan",
            Self::Admin(Action::Retry) => "admin-retry",
            Self::Admin(Action::Status(_)) => "admin-status",
            Self::Admin(Action::Maintenance) => "admin-maintenance",
            Self::Health => "health",
            Self::Stats => "webhook-stats",
            Self::Preflight(_) => "preflight",
            Self::WrongMethod(_) => "wrong-method",
            Self::Unknown => "unknown",
            #[cfg(feature = "bench")]
            Self::BenchVerify => "bench-verify",
            #[cfg(feature = "bench")]
            Self::BenchPanic => "bench-panic",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    /// method, path, what the route prints.
    const TABLE: &str = r#"
GET    /api/webhooks/health              Health
POST   /api/webhooks/health              WrongMethod("GET")
HEAD   /api/webhooks/health              WrongMethod("GET")
POST   /api/webhooks/ecpay/payment       Webhook(Source("ecpay"), "payment")
POST   /api/webhooks/crm/event           Webhook(Source("crm"), "event")
GET    /api/webhooks/ecpay/payment       WrongMethod("POST")
PURGE  /api/webhooks/ecpay/payment       WrongMethod("POST")
post   /api/webhooks/ecpay/payment       WrongMethod("POST")
POST   /api/webhooks/ecpay/payment/      Unknown
POST   /api/webhooks/ecpay               Unknown
POST   //api/webhooks/ecpay/payment      Unknown
POST   /api/payments/webhook             Webhook(Default, "payment")
POST   /webhook/period-notify            Webhook(Source("payuni"), "period")
POST   /api/payments/checkout            Checkout(Any)
POST   /create-payment                   Checkout(OneTime)
POST   /create-subscription              Checkout(Subscription)
GET    /create-payment                   WrongMethod("POST, OPTIONS")
OPTIONS /create-payment                  Preflight("POST")
OPTIONS /api/payments/checkout           Preflight("POST")
OPTIONS /api/webhooks/ecpay/payment      WrongMethod("POST")
POST   /api/articles/generate            Article
GET    /api/articles/generate            WrongMethod("POST, OPTIONS")
OPTIONS /api/articles/generate           Preflight("POST")
GET    /api/billing/balance              Balance
POST   /api/billing/balance              WrongMethod("GET, OPTIONS")
OPTIONS /api/billing/balance             Preflight("GET")
GET    /api/billing                      Unknown
GET    /api/subscriptions                Subscriptions
POST   /api/subscriptions                WrongMethod("GET, OPTIONS")
OPTIONS /api/subscriptions               Preflight("GET")
GET    /api/subscriptions/7              Unknown
POST   /api/subscriptions/7/cancel       CancelSubscription("7")
GET    /api/subscriptions/7/cancel       WrongMethod("POST, OPTIONS")
OPTIONS /api/subscriptions/7/cancel      Preflight("POST")
POST   /api/subscriptions/7/change-plan  ChangePlan("7")
GET    /api/subscriptions/7/change-plan  WrongMethod("POST, OPTIONS")
OPTIONS /api/subscriptions/7/change-plan Preflight("POST")
POST   /api/subscriptions/7/change-plan/preview PreviewPlan("7")
GET    /api/subscriptions/7/change-plan/preview WrongMethod("POST, OPTIONS")
OPTIONS /api/subscriptions/7/change-plan/preview Preflight("POST")
POST   /api/subscriptions/7/change-plan/preview/7 Unknown
POST   /api/subscriptions/7/change-plan/ Unknown
GET    /api/webhooks/webhook-stats       Stats
POST   /api/webhooks/webhook-stats       WrongMethod("GET")
POST   /api/webhooks/ecpay-manual-retry  Admin(Retry)
GET    /api/webhooks/ecpay-manual-retry  WrongMethod("POST")
OPTIONS /api/webhooks/ecpay-manual-retry WrongMethod("POST")
POST   /api/webhooks/trigger-maintenance Admin(Maintenance)
GET    /api/webhooks/subscription-status/u-1 Admin(Status("u-1"))
POST   /api/webhooks/subscription-status/u-1 WrongMethod("GET")
GET    /api/webhooks/subscription-status Unknown
GET    /api/payments/config              Config
GET    /csrf-token                       CsrfToken
POST   /csrf-token                       WrongMethod("GET, OPTIONS")
OPTIONS /csrf-token                      Preflight("GET")
LINK   /api/payments/config              WrongMethod("GET, OPTIONS")
GET    /api/payments/17/status           Status("17")
POST   /api/payments/17/status           WrongMethod("GET, OPTIONS")
OPTIONS /api/payments/17/status          Preflight("GET")
POST   /api/payments/17/return           Return("17")
GET    /api/payments/17/return           WrongMethod("POST")
OPTIONS /api/payments/17/return          WrongMethod("POST")
GET    /api/payments/17                  Unknown
GET    /                                 Unknown
"#;

    /// PM-3, PM-4, PM-5 and the aliases of the plans.
    #[test]
    fn pm_4_each_route_has_its_method_and_no_other() {
        for line in TABLE.lines().filter(|line| !line.is_empty()) {
            let mut words = line.split_whitespace();
            let (method, path) = (words.next().unwrap(), words.next().unwrap());
            let expected = words.collect::<Vec<_>>().join(" ");
            assert_eq!(format!("{:?}", find(method, path)), expected, "{method} {path}");
        }
    }
}
