//! Posting notices until they are acknowledged, or given up.
//!
//! `act` announces a notice → **`deliver`** at once → **`run`** repeats it by policy; the control API may force a repeat.
//!
//! Invariants: redirects are not followed and an answer after the limit is none (reference §1.4.1, §1.4.5); a notice is
//! acknowledged by the exact bytes or not at all; at most `CONCURRENT` deliveries run at once; the lock is not held
//! while the network is.
//! Not here: the bytes (`notice`), which moves announce what (`act`).
//! Failure: a lost or wrong answer is recorded with its reason and counts as one delivery.

use std::time::Duration;

use reqwest::redirect::Policy;
use tollgate_shared::time::Timestamp;

use crate::app::App;
use crate::notice::{Sealed, acknowledges};
use crate::world::{Answer, Delivery, Notice, NoticeState};

/// The most deliveries on their way at once; the others queue.
pub(crate) const CONCURRENT: usize = 64;

/// Bytes of an answer that are kept, for a person to read.
pub(crate) const ANSWER_KEPT: usize = 1024;

/// The longest pause of the scheduler; a moved clock wakes it earlier.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// The agent seen on ECPay's own notices (reference §1.4.1).
const AGENT: &str = "Mozilla/4.0 (compatible; MSIE 9.0; Windows NT 5.0)";

/// The client of all notices: no redirects, no proxy, the provider's patience.
pub(crate) fn client(answer_limit: Duration) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(answer_limit)
        .user_agent(AGENT)
        .build()
}

/// Sends one delivery of a notice now, and records what came back. An unknown id is nothing to do.
pub(crate) async fn deliver(app: &App, id: u64) {
    let Ok(_permit) = app.deliveries.acquire().await else {
        return;
    };
    let now = app.clock.now();
    let Some((url, attempt, sealed)) = app
        .world
        .with(|world| world.notices.get_mut(&id).map(|notice| begin(notice, now)))
    else {
        return;
    };
    let answer = post(&app.http, &url, &sealed).await;
    let interval = app.config.resend_interval;
    let resends_max = app.config.resends_max;
    let done = app.clock.now();
    let again = app.world.with(|world| {
        let Some(notice) = world.notices.get_mut(&id) else {
            return false;
        };
        finish(notice, attempt, answer, done.plus(interval), resends_max);
        notice.state == NoticeState::Pending
    });
    // The scheduler looks through all notices, so it is woken only when there is something new to wait for.
    if again {
        app.wake.notify_one();
    }
}

fn begin(notice: &mut Notice, now: Timestamp) -> (String, u32, Sealed) {
    notice.attempts = notice.attempts.saturating_add(1);
    notice.in_flight = notice.in_flight.saturating_add(1);
    notice.claimed = false;
    let sealed = notice.draft.sealed(&notice.name(), notice.attempts, now);
    notice.record(Delivery {
        attempt: notice.attempts,
        sent_at: now,
        sealed: sealed.clone(),
        answer: Answer::Awaited,
        acknowledged: false,
    });
    (notice.draft.url.clone(), notice.attempts, sealed)
}

fn finish(
    notice: &mut Notice,
    attempt: u32,
    (answer, whole): (Answer, Vec<u8>),
    next_at: Timestamp,
    resends_max: u32,
) {
    notice.in_flight = notice.in_flight.saturating_sub(1);
    let acknowledged = match &answer {
        Answer::Http { status, .. } => acknowledges(notice.provider, *status, &whole),
        Answer::Awaited | Answer::Lost(_) => false,
    };
    if let Some(delivery) = notice
        .deliveries
        .iter_mut()
        .find(|delivery| delivery.attempt == attempt)
    {
        delivery.answer = answer;
        delivery.acknowledged = acknowledged;
    }
    notice.next_at = next_at;
    // One acknowledgement is enough for ever: a forced repeat that is refused does not undo it.
    if acknowledged {
        notice.state = NoticeState::Acknowledged;
    } else if notice.state == NoticeState::Pending && notice.attempts > resends_max {
        notice.state = NoticeState::GivenUp;
    }
}

/// The answer for the record, and its bytes (up to one more than are kept) for the comparison.
async fn post(http: &reqwest::Client, url: &str, sealed: &Sealed) -> (Answer, Vec<u8>) {
    let mut request = http
        .post(url)
        .header("content-type", sealed.content_type)
        .header("accept", "text/html");
    for (name, value) in &sealed.headers {
        request = request.header(*name, value);
    }
    let mut response = match request.body(sealed.body.clone()).send().await {
        Ok(response) => response,
        Err(error) => return (Answer::Lost(reason(&error)), Vec::new()),
    };
    let status = response.status().as_u16();
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() <= ANSWER_KEPT => body.extend_from_slice(&chunk),
            Ok(_) => break,
            Err(error) => return (Answer::Lost(reason(&error)), Vec::new()),
        }
    }
    let kept = body.get(..ANSWER_KEPT).unwrap_or(&body);
    (
        Answer::Http {
            status,
            body: String::from_utf8_lossy(kept).into_owned(),
        },
        body,
    )
}

fn reason(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else if error.is_builder() {
        "the address cannot be posted to"
    } else {
        "the connection broke off"
    }
}

/// Repeats what is due, for as long as the sandbox lives.
pub(crate) async fn run(app: App) {
    loop {
        let now = app.clock.now();
        let (due, pause) = app.world.with(|world| due(world.notices.values_mut(), now));
        for id in due {
            let app = app.clone();
            tokio::spawn(async move { deliver(&app, id).await });
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = app.wake.notified() => {}
        }
    }
}

/// What is due now, claimed so that the next look does not find it again; and how long until the next.
fn due<'a>(notices: impl Iterator<Item = &'a mut Notice>, now: Timestamp) -> (Vec<u64>, Duration) {
    let mut due = Vec::new();
    let mut pause = PAUSE_MAX;
    let waiting = |notice: &&mut Notice| {
        notice.state == NoticeState::Pending
            && notice.in_flight == 0
            && !notice.claimed
            && notice.attempts > 0
    };
    for notice in notices.filter(waiting) {
        if notice.next_at <= now {
            notice.claimed = true;
            due.push(notice.id);
        } else {
            pause = pause.min(notice.next_at.distance(now));
        }
    }
    (due, pause)
}
