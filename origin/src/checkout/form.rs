//! From a plan to the provider's form: which builder of `shared`, with which URLs.
//!
//! checkout → **form** → `shared::provider::*::checkout`, which checks every limit of the provider.
//!
//! Invariants: notices go to the edge (`PUBLIC_EDGE_URL`), never to the origin; the browser comes back to
//! `APP_RETURN_URL?paymentId=…`, which carries no result, only what to poll. The mock is offered only where
//! `Sources` has it, and it has it only where no real provider is configured (PM-7).

use jiff::civil::Date;
use reqwest::Url;
use tollgate_shared::id::{MerchantId, OrderNumber, PaymentId};
use tollgate_shared::provider::ecpay::{self, Ecpay};
use tollgate_shared::provider::payuni::checkout::CardAgreement;
use tollgate_shared::provider::payuni::{self, Payuni};
use tollgate_shared::provider::{CheckoutForm, mock};
use tollgate_shared::time::Timestamp;

use super::PlaceError;
use crate::Origin;
use crate::config::{CheckoutConfig, PaymentProvider};
use crate::domain::plan::{FirstCharge, PeriodDate, PeriodUnit, Plan, PlanKind, Schedule};
use crate::domain::subscription::Mode;
use crate::domain::subscription::schedule::{due_on, taipei_date};

/// An order to be paid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    /// For what.
    pub(super) plan: &'a Plan,
    /// Our number.
    pub(super) number: &'a OrderNumber,
    /// The payment, for the way back.
    pub(super) payment: PaymentId,
    /// When it was placed, written into the form.
    pub(super) placed_at: Timestamp,
    /// The chosen day of the first charge (PU-7); `None`: the day of the order.
    pub(super) first_charge_on: Option<Date>,
}

/// Where and how to pay.
#[derive(Debug, Clone)]
pub(crate) struct WayToPay {
    /// With whom.
    pub(super) provider: PaymentProvider,
    /// At which shop.
    pub(super) merchant: Option<MerchantId>,
    /// A page to open.
    pub(super) checkout_url: Option<String>,
    /// A form to post.
    pub(super) form: Option<CheckoutForm>,
}

/// Builds the form of a provider.
pub(super) fn build(
    origin: &Origin,
    provider: PaymentProvider,
    order: &Order<'_>,
    method: Option<&str>,
) -> Result<WayToPay, PlaceError> {
    let (config, sources) = (&origin.config.checkout, &origin.config.sources);
    let not_configured = PlaceError::ProviderNotConfigured;
    match provider {
        PaymentProvider::Ecpay => {
            let (shop, base) = sources
                .ecpay()
                .zip(config.ecpay_base_url.as_ref())
                .ok_or(not_configured)?;
            let form = ecpay_form(config, shop, base, order, method)?;
            Ok(WayToPay {
                provider,
                merchant: Some(shop.merchant().clone()),
                checkout_url: None,
                form: Some(form),
            })
        }
        PaymentProvider::Payuni => {
            let (shop, base) = sources
                .payuni()
                .zip(config.payuni_base_url.as_ref())
                .ok_or(not_configured)?;
            let mode = origin.config.subscriptions.payuni_mode;
            let form = payuni_form(config, (shop, base), (order, mode), method)?;
            Ok(WayToPay {
                provider,
                merchant: Some(shop.merchant().clone()),
                checkout_url: None,
                form: Some(form),
            })
        }
        PaymentProvider::Mock => {
            let (shop, base) = sources
                .mock()
                .zip(config.mock_base_url.as_ref())
                .ok_or(not_configured)?;
            if order.plan.renews_itself() || method.is_some() {
                return Err(PlaceError::NotPayable(
                    "mock takes one-time plans, without a method".to_owned(),
                ));
            }
            let notify = notice_url(config, "mock", "payment");
            let back = return_url(config, order);
            let url = mock::checkout_url(trimmed(base), order.number, order.plan.price, &notify, &back);
            Ok(WayToPay {
                provider,
                merchant: Some(shop.merchant().clone()),
                checkout_url: Some(url),
                form: None,
            })
        }
    }
}

fn ecpay_form(
    config: &CheckoutConfig,
    shop: &Ecpay,
    base: &Url,
    order: &Order<'_>,
    method: Option<&str>,
) -> Result<CheckoutForm, PlaceError> {
    let period = match order.plan.kind {
        PlanKind::OneTime { .. } | PlanKind::TokenPack(_) | PlanKind::Free { .. } => None,
        PlanKind::Subscription { schedule, .. } => Some(ecpay_period(config, schedule)?),
    };
    let order = ecpay::checkout::Order {
        number: order.number.clone(),
        placed_at: order.placed_at,
        money: order.plan.price,
        description: order.plan.name.clone(),
        item_name: order.plan.name.clone(),
        return_url: notice_url(config, "ecpay", "payment"),
        method: ecpay_method(config, method)?,
        period,
        client_back_url: Some(return_url(config, order)),
        order_result_url: None,
        custom_fields: Default::default(),
        language: None,
    };
    ecpay::checkout::form(shop, trimmed(base), &order)
        .map_err(|error| PlaceError::NotPayable(error.to_string()))
}

/// By card where nothing else is asked for. A code's notice (`PaymentInfoURL`) is asked for wherever there is one.
///
/// `ALL` is refused: the customer could choose a code there, `PaymentInfoURL` is documented for the three methods with
/// codes only (§1.3.1), and a payment whose code we never hear of would be canceled while it can still be paid.
fn ecpay_method(
    config: &CheckoutConfig,
    method: Option<&str>,
) -> Result<ecpay::checkout::Method, PlaceError> {
    use ecpay::checkout::Method;
    let mut method = match method {
        None => Method::Credit,
        Some(code) => Method::from_code(code)
            .filter(|method| *method != Method::All)
            .ok_or(PlaceError::UnknownMethod)?,
    };
    match &mut method {
        Method::Atm(options) | Method::Cvs(options) | Method::Barcode(options) => {
            options.payment_info_url = Some(notice_url(config, "ecpay", "code"));
        }
        Method::Credit
        | Method::All
        | Method::WebAtm
        | Method::ApplePay
        | Method::Twqr
        | Method::Bnpl
        | Method::WeiXin
        | Method::DigitalPayment => {}
    }
    Ok(method)
}

/// ECPay has no weeks: seven days each. It charges one amount, first on the day of the order, then on that day's like.
fn ecpay_period(config: &CheckoutConfig, schedule: Schedule) -> Result<ecpay::checkout::Period, PlaceError> {
    use ecpay::checkout::PeriodType;
    let refused = |reason: &str| Err(PlaceError::NotPayable(format!("ecpay {reason}; payuni does")));
    if schedule.first_charge == FirstCharge::Date {
        return refused("makes no first charge on a chosen day");
    }
    if schedule.period_date.is_some() {
        return refused("charges on no other day than that of the first charge");
    }
    if schedule.first_amount.is_some() {
        return refused("has no first charge of another amount");
    }
    let frequency = u32::from(schedule.frequency);
    let (period_type, frequency) = match schedule.unit {
        PeriodUnit::Day => (PeriodType::Day, frequency),
        PeriodUnit::Week => (PeriodType::Day, frequency.saturating_mul(7)),
        PeriodUnit::Month => (PeriodType::Month, frequency),
        PeriodUnit::Year => (PeriodType::Year, frequency),
    };
    Ok(ecpay::checkout::Period {
        period_type,
        frequency,
        exec_times: u32::from(schedule.times),
        return_url: Some(notice_url(config, "ecpay", "period")),
    })
}

fn payuni_form(
    config: &CheckoutConfig,
    (shop, base): (&Payuni, &Url),
    (order, mode): (&Order<'_>, Mode),
    method: Option<&str>,
) -> Result<CheckoutForm, PlaceError> {
    let form = match order.plan.kind {
        PlanKind::OneTime { .. } | PlanKind::TokenPack(_) | PlanKind::Free { .. } => {
            let order = payuni_order(config, order, method)?;
            payuni::checkout::form(shop, trimmed(base), &order)
        }
        PlanKind::Subscription { schedule, .. } => {
            if method.is_some_and(|method| method != "Credit") {
                return Err(PlaceError::UnknownMethod);
            }
            match mode {
                Mode::ProviderRun => {
                    let order = payuni_period_order(config, order, schedule)?;
                    payuni::checkout::period_form(shop, trimmed(base), &order)
                }
                Mode::MerchantRun if schedule.first_charge == FirstCharge::Date => {
                    let reason =
                        "payuni binds a card for a chosen day only where it runs the contract itself";
                    return Err(PlaceError::NotPayable(reason.to_owned()));
                }
                // No contract at PAYUNi, which would charge beside us: the first payment, by which the customer agrees
                // to the later ones. The agreement goes by the order's number.
                Mode::MerchantRun => {
                    let reference = order.number.as_str();
                    let first = payuni_order(config, order, Some("Credit"))?;
                    payuni::checkout::agreement_form(
                        shop,
                        trimmed(base),
                        &first,
                        CardAgreement::Member,
                        reference,
                    )
                }
            }
        }
    };
    form.map_err(|error| PlaceError::NotPayable(error.to_string()))
}

fn payuni_order(
    config: &CheckoutConfig,
    order: &Order<'_>,
    method: Option<&str>,
) -> Result<payuni::checkout::Order, PlaceError> {
    let methods = match method {
        None => vec![payuni::checkout::Method::Credit],
        Some(code) => vec![payuni::checkout::Method::from_code(code).ok_or(PlaceError::UnknownMethod)?],
    };
    Ok(payuni::checkout::Order {
        number: order.number.clone(),
        placed_at: order.placed_at,
        money: order.plan.first_price(),
        description: order.plan.name.clone(),
        notify_url: notice_url(config, "payuni", "payment"),
        return_url: None,
        back_url: Some(return_url(config, order)),
        methods,
    })
}

fn payuni_period_order(
    config: &CheckoutConfig,
    order: &Order<'_>,
    schedule: Schedule,
) -> Result<payuni::checkout::PeriodOrder, PlaceError> {
    use payuni::checkout::FirstCharge;
    let chosen = order.first_charge_on;
    Ok(payuni::checkout::PeriodOrder {
        number: order.number.clone(),
        money: order.plan.price,
        first_money: schedule.first_amount.map(|_| order.plan.first_price()),
        description: order.plan.name.clone(),
        schedule: payuni_schedule(schedule, order)?,
        period_times: u32::from(schedule.times),
        first_charge: chosen.map_or(FirstCharge::Build, |day| FirstCharge::Date(day.to_string())),
        notify_url: notice_url(config, "payuni", "period"),
        // The binding of a card is told nowhere else (A.5).
        return_url: chosen.map(|_| binding_url(config, order)),
        back_url: Some(return_url(config, order)),
        payer_email: None,
    })
}

/// PAYUNi's schedule: on the plan's day, else on the days like that of the first charge. It has no days and no multiples.
fn payuni_schedule(schedule: Schedule, order: &Order<'_>) -> Result<payuni::checkout::Schedule, PlaceError> {
    use payuni::checkout::Schedule as At;
    let not_payable = || PlaceError::NotPayable("payuni charges every week, month or year".to_owned());
    if schedule.frequency != 1 {
        return Err(not_payable());
    }
    let first = order.first_charge_on.or_else(|| taipei_date(order.placed_at));
    let first = first.ok_or_else(not_payable)?;
    let number = |day: i8| u32::try_from(day).map_err(|_| not_payable());
    Ok(match (schedule.unit, schedule.period_date) {
        (PeriodUnit::Day, _) => return Err(not_payable()),
        (_, Some(PeriodDate::Weekday(day))) => At::Weekly(number(day)?),
        (_, Some(PeriodDate::DayOfMonth(day))) => At::Monthly(number(day)?),
        (_, Some(PeriodDate::DayOfYear { .. })) => {
            let next = due_on(schedule, first, 2).ok_or_else(not_payable)?;
            At::Yearly(next.to_string())
        }
        (PeriodUnit::Week, None) => At::Weekly(number(first.weekday().to_monday_one_offset())?),
        (PeriodUnit::Month, None) => At::Monthly(number(first.day())?),
        (PeriodUnit::Year, None) => At::Yearly(first.to_string()),
    })
}

/// Where the customer's browser takes the result of the page, on its way back to the app.
fn binding_url(config: &CheckoutConfig, order: &Order<'_>) -> String {
    format!(
        "{}/api/payments/{}/return",
        trimmed(&config.public_edge_url),
        order.payment
    )
}

fn notice_url(config: &CheckoutConfig, source: &str, notice: &str) -> String {
    format!(
        "{}/api/webhooks/{source}/{notice}",
        trimmed(&config.public_edge_url)
    )
}

fn return_url(config: &CheckoutConfig, order: &Order<'_>) -> String {
    format!("{}?paymentId={}", config.app_return_url, order.payment)
}

/// A base without its last `/`: a doubled slash is another path to ECPay, which follows no redirect.
fn trimmed(base: &Url) -> &str {
    base.as_str().trim_end_matches('/')
}
