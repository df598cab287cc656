//! The other side of the wire: fake ECPay, PAYUNi and mock provider, a JWT issuer, sinks for webhooks and for mail.
//!
//! Tollgate's checkout form → **sandbox** cashier → a person or the control API pays → notice → Tollgate's edge.
//!
//! # What it is for
//! Local work and tests need a provider that answers at once, refuses what the real one refuses, and repeats its
//! notices until they are acknowledged. Neither provider's stage can be driven by a program, reached offline, or made
//! to lose a notice. The sandbox can.
//!
//! # What it checks
//! * **ECPay** (`/ecpay`): CheckMacValue (10200073), parameters not in the specification (10100050), MerchantTradeNo
//!   (10200052) used once for ever (10300028), methods and amounts (10300023), periodic parameters (10100223 to
//!   10100228), URLs, optionally the firewall's words (10400011) and ports 80 and 443 only. `QueryTradeInfo/V5`,
//!   `QueryCreditCardPeriodInfo`, `CreditCardPeriodAction`, `CreditDetail/DoAction`; 403 for asking too often;
//!   `PaymentMedia/TradeNoAio`, a settlement file in Big5.
//! * **PAYUNi** (`/payuni`): `HashInfo`, decryption, `MerID` outside and inside, Version, Timestamp, every inner field,
//!   order numbers once in ten minutes (UPP01007). `/api/trade/{query,close,cancel}`, `/api/credit` by a stored card,
//!   `/api/credit_bind/cancel`, `/api/period/{mdfStatus,query,Modify,exchange}`.
//! * **Mock** (`/mock/checkout?…`): a Standard-Webhooks-signed notice.
//! * **Turnstile** (`/turnstile/v0/siteverify`): a token is good once and for 300 s; Cloudflare's secrets for tests.
//!
//! Notices carry the recorded field sets. A first delivery says `交易成功`, a repeat `paid`, under a MAC of its own. Only
//! HTTP 200 with exactly `1|OK` (PAYUNi: `OK`) stops the repeats; redirects are not followed; 10 s is the limit.
//!
//! # The cashier
//! The checkout form's answer is a page without script or foreign files, in zh-TW and English: pay, decline, close the
//! window; for ATM, CVS and BARCODE first issue the code, then pay it. Buttons carry `data-action` and `data-method`.
//!
//! # Contracts
//! A paid periodic order charges by itself on its days: when the clock is moved, or as real time goes by. A jump of a year
//! plays every charge on the way in order of its due time, each under its own stamp, and delivers its notice before
//! the next one. ECPay ends a contract after six failed periods in a row; retries come a minute later.
//!
//! # The control API (`/control/v1`, JSON, errors as problem+json)
//! * `POST sessions` `{"sub", "email"?, "expiresInSeconds"?, "secret"?, "issuer"?, "audience"?}` → `{"token"}`
//! * `POST turnstile` `{"hostname"?, "action"?, "ageSeconds"?}` → `{"token"}`, as the widget gives one to a page
//! * `GET trades/{provider}/{order}`;
//!   `POST trades/{provider}/{order}/{pay|fail|close|issue-code|pay-code|simulate|period}`
//!   `{"method"?, "fields"?, "notify"?, "wait"?, "failed"?}` → the trade with its notices
//! * `POST trades/{provider}/{order}/notices/resend` `{"which"?: "unacknowledged" | "all"}`
//! * `GET notices?order=…` → `{"notices": […]}`, one object a delivery
//! * `GET clock`, `POST clock` `{"advanceSeconds"}` or `{"toUnixMs"}` → `{"now", "unixMs", "nextDueUnixMs",
//!   "noticesUnderWay"}`
//! * `GET contracts/{provider}/{order}`: state, next due time, every attempt
//! * `POST contracts/{provider}/{order}/declines` `{"card"?: "bad" | "good", "from"?, "until"?, "dates"?, "next"?, "code"?}`,
//!   `DELETE` lifts them
//! * `POST contracts/{provider}/{order}/notices` `{"lose"?, "lateSeconds"?, "amount"?, "next"?, "dates"?, "failuresTold"?,
//!   "gwsr"?, "oddLog"?, "ghostInLog"?}`, `DELETE` lifts them
//! * `GET tokens/payuni/{order or CreditToken}`, `POST …/declines` as above, `POST …/answers` `{"lost"?, "unknown"?}`
//! * `POST limits/ecpay` `{"callsMax"?, "windowSeconds"?, "silenceSeconds"?, "refuseSeconds"?}`
//! * `GET mails` (also where the mail sink listens), `POST mails/refusals` `{"next", "code"}`, `DELETE mails`
//! * `POST /sink/{name}` receives; `GET`, `PUT` `{"secret"?, "status"?}`, `DELETE sink/{name}` list, set up, clear
//!
//! # Settings of the program `tollgate-sandbox`
//! `LISTEN_ADDR` (127.0.0.1:8789), `SANDBOX_SMTP_ADDR` (127.0.0.1, a free port), `SANDBOX_RESEND_SECONDS` (5), `SANDBOX_RESENDS_MAX` (4),
//! `SANDBOX_STANDARD_PORTS_ONLY`, `SANDBOX_REFUSE_SHELL_WORDS` (`on` or `off`), and Tollgate's own names:
//! `ECPAY_*`, `PAYUNI_*`, `PAYMENT_WEBHOOK_SECRET`, `SESSION_*`, `TURNSTILE_SECRET_KEY`.
//!
//! # Invariants
//! It is an independent check: it parses requests with field tables of its own and uses `tollgate_shared` for the MAC, the
//! cipher, money and time only. State lives in memory behind one lock that is never held over an `await`; every
//! collection is bounded. Left out: suspending a contract in ECPay's console, partial captures.
//! Failure: [`StartError`] before it listens; afterwards only answers.

mod answer;
mod app;
mod cashier;
mod cashier_page;
mod clock;
mod config;
mod contract;
mod control;
mod delivery;
mod ecpay;
mod form;
mod http;
mod limiter;
mod mail;
mod mock;
mod notice;
mod numbers;
mod page;
mod payuni;
mod play;
mod session;
mod settlement;
mod sink;
mod standard_webhooks;
mod tokens;
mod trade;
mod turnstile;
mod world;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::app::App;
pub use crate::config::{
    Config, ConfigError, ECPAY_HASH_IV, ECPAY_HASH_KEY, ECPAY_MERCHANT_ID, MOCK_WEBHOOK_SECRET, Merchant,
    PAYUNI_HASH_IV, PAYUNI_HASH_KEY, PAYUNI_MERCHANT_ID, SESSION_SECRET, TURNSTILE_SECRET,
};
pub use crate::limiter::CallLimit;

/// Why a sandbox does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The client for notices cannot be built.
    #[error("cannot prepare the client for notices")]
    Client(#[source] reqwest::Error),
    /// A PAYUNi key has another length than 32 and 16 bytes.
    #[error("the PAYUNi merchant {0} needs a HashKey of 32 bytes and a HashIV of 16")]
    PayuniKey(String),
}

/// How long running answers may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A running sandbox. Dropping it stops it.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    mail_address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<std::io::Result<()>>,
    repeating: JoinHandle<()>,
    playing: JoinHandle<()>,
    mailing: JoinHandle<()>,
}

impl Sandbox {
    /// Starts a sandbox and returns when it accepts connections.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        check_keys(&config)?;
        let (listener, address) = listen(config.listen).await?;
        let (mail_listener, mail_address) = listen(config.mail_listen).await?;
        let app = App::new(config, mail_address).map_err(StartError::Client)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = axum::serve(listener, http::router(app.clone())).with_graceful_shutdown(async move {
            // Either a word or a dropped handle ends the service.
            drop(stopped.await);
        });
        let serving = tokio::spawn(async move { serve.await });
        let repeating = tokio::spawn(delivery::run(app.clone()));
        let playing = tokio::spawn(play::run(app.clone()));
        let mailing = tokio::spawn(mail::run(app, mail_listener));
        Ok(Self {
            address,
            mail_address,
            stop: Some(stop),
            serving,
            repeating,
            playing,
            mailing,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the mail sink listens; `smtp://ADDRESS` is the value for `SMTP_URL`.
    #[must_use]
    pub const fn mail_address(&self) -> SocketAddr {
        self.mail_address
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The value for `ECPAY_BASE_URL`.
    #[must_use]
    pub fn ecpay_url(&self) -> String {
        format!("{}/ecpay", self.base_url())
    }

    /// The value for `PAYUNI_BASE_URL`.
    #[must_use]
    pub fn payuni_url(&self) -> String {
        format!("{}/payuni", self.base_url())
    }

    /// The value for `MOCK_BASE_URL`.
    #[must_use]
    pub fn mock_url(&self) -> String {
        format!("{}/mock", self.base_url())
    }

    /// Stops listening, lets running answers end, and returns when all is done. Outstanding repeats are lost.
    pub async fn stop(mut self) {
        self.repeating.abort();
        self.playing.abort();
        self.mailing.abort();
        drop(self.stop.take());
        // Nothing is left to do about a listener that is going away, nor about a client that does not let go.
        drop(tokio::time::timeout(STOP_LIMIT, &mut self.serving).await);
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.repeating.abort();
        self.playing.abort();
        self.mailing.abort();
        self.serving.abort();
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// A cipher under a key of a wrong length seals nothing, so such a merchant is refused before the first notice.
fn check_keys(config: &Config) -> Result<(), StartError> {
    let wrong = config
        .payuni
        .iter()
        .find(|merchant| merchant.hash_key.expose().len() != 32 || merchant.hash_iv.expose().len() != 16);
    wrong.map_or(Ok(()), |merchant| Err(StartError::PayuniKey(merchant.id.clone())))
}
