//! The rest of a test stack, as far as it must keep up with a moved clock: the sandbox's clock, the edge's backlog.
//!
//! `test_clock` → **[`Follower`]** → the sandbox's control API, the edge's public health.
//!
//! Invariant: it exists only where `TEST_CLOCK` is on and `SANDBOX_CONTROL_URL` names a sandbox; it reads figures and moves
//! a clock, nothing else. Failure: [`FollowError`], which says who did not answer as expected.

use std::time::Duration;

use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::json;
use tollgate_shared::time::Timestamp;

/// The sandbox delivers what falls due on the way before it answers.
const TIME_MAX: Duration = Duration::from_mins(2);

/// Who did not follow, and how.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// A client cannot be made.
    #[error("calls cannot be made")]
    Client(#[source] reqwest::Error),
    /// The address does not take a path.
    #[error("{0} cannot be asked at this address")]
    Address(&'static str),
    /// No answer, or one that is not read.
    #[error("{who} gave no answer that can be read")]
    NoAnswer {
        /// The sandbox or the edge.
        who: &'static str,
        /// What went wrong.
        #[source]
        source: reqwest::Error,
    },
    /// Another answer than success.
    #[error("{who} answered {status}")]
    Refused {
        /// The sandbox or the edge.
        who: &'static str,
        /// With which status.
        status: u16,
    },
}

/// What the sandbox tells of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SandboxClock {
    /// The time.
    pub(crate) now: Timestamp,
    /// The next charge, retry or held notice.
    pub(crate) next_due: Option<Timestamp>,
    /// Notices that are being delivered.
    pub(crate) notices_under_way: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    unix_ms: i64,
    next_due_unix_ms: Option<i64>,
    notices_under_way: u64,
}

#[derive(Deserialize)]
struct Health {
    inbox: Inbox,
}

#[derive(Deserialize)]
struct Inbox {
    pending: i64,
}

/// The client of both.
#[derive(Debug)]
pub(crate) struct Follower {
    http: reqwest::Client,
    clock: Url,
    health: Url,
}

impl Follower {
    /// For a sandbox and an edge.
    pub(crate) fn new(sandbox: &Url, edge: &Url) -> Result<Self, FollowError> {
        let http = reqwest::Client::builder()
            .timeout(TIME_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(FollowError::Client)?;
        let clock = sandbox.join("/control/v1/clock");
        let health = edge.join("/api/webhooks/health");
        Ok(Self {
            http,
            clock: clock.map_err(|_| FollowError::Address(SANDBOX))?,
            health: health.map_err(|_| FollowError::Address(EDGE))?,
        })
    }

    /// The sandbox's time.
    pub(crate) async fn show(&self) -> Result<SandboxClock, FollowError> {
        read_clock(self.http.get(self.clock.clone())).await
    }

    /// Moves the sandbox ahead, through everything that falls due there on the way. By a span and not to an instant: both
    /// clocks go on while the call is on its way, and an instant that has passed would be refused.
    pub(crate) async fn advance(&self, seconds: u64) -> Result<SandboxClock, FollowError> {
        let wanted = json!({ "advanceSeconds": seconds }).to_string();
        let request = self.http.post(self.clock.clone()).body(wanted);
        read_clock(request.header("content-type", "application/json")).await
    }

    /// Whether the edge has accepted events that it has not delivered to us; not known while it has been asked too often.
    pub(crate) async fn edge_is_waiting(&self) -> Result<bool, FollowError> {
        match read::<Health>(EDGE, self.http.get(self.health.clone())).await {
            Ok(health) => Ok(health.inbox.pending > 0),
            Err(FollowError::Refused { status: 429, .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

const SANDBOX: &str = "the sandbox";
const EDGE: &str = "the edge";

async fn read_clock(request: reqwest::RequestBuilder) -> Result<SandboxClock, FollowError> {
    let told: Told = read(SANDBOX, request).await?;
    Ok(SandboxClock {
        now: Timestamp::from_unix_ms(told.unix_ms),
        next_due: told.next_due_unix_ms.map(Timestamp::from_unix_ms),
        notices_under_way: told.notices_under_way,
    })
}

async fn read<T: serde::de::DeserializeOwned>(
    who: &'static str,
    request: reqwest::RequestBuilder,
) -> Result<T, FollowError> {
    let no_answer = |source| FollowError::NoAnswer { who, source };
    let answer = request.send().await.map_err(no_answer)?;
    if answer.status() != StatusCode::OK {
        let status = answer.status().as_u16();
        return Err(FollowError::Refused { who, status });
    }
    answer.json().await.map_err(no_answer)
}
