//! The caller: idempotency keys and the token bucket of one user. A SQLite Durable Object, one a user.
//!
//! checkout, article → **caller** (→ `turnstile`) → origin. `decision` and `bucket` decide; `store` has the SQL.
//!
//! One object a user makes "is this key in flight?" a question with one answer, wherever the two requests came in.
//! A replay or a refusal takes no token: only what reaches the origin counts.
//!
//! Invariants (ED-3): a key's first answer that is not a failure of ours is every later answer, for 24 h; the key
//! goes to the origin too, in the signed body, whose unique constraint remains the authority. No borrow is held over
//! an await.
//! Failure: a broken store or an unreachable origin answers 503 or 502 and pins nothing.

mod bucket;
mod decision;
mod store;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tollgate_shared::problem::Problem;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use worker::Env;

use self::decision::{Decision, KEPT, decide, passes, pins};
use self::store::Store;
use crate::answer::{self, Answer};
use crate::config::Settings;
use crate::origin::{self, Question, Reply, Unreachable};
use crate::port::{self, Broken, ObjectState, Request};
use crate::{clock, config, log, task, turnstile};

pub(crate) use self::decision::Fingerprint;

/// Keys used this long ago are forgotten.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;
/// How long the origin has for a checkout. It calls no provider, so this is generous.
const BUDGET_MS: u32 = 10_000;

/// What the origin is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// A payment (PM-3).
    Checkout,
    /// An article (TB-7).
    Article,
}

impl Target {
    const fn path(self) -> &'static str {
        match self {
            Self::Checkout => "/internal/v1/payments/checkout",
            Self::Article => "/internal/v1/articles/generate",
        }
    }
}

/// What the gate asks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) key: String,
    pub(crate) user: String,
    pub(crate) target: Target,
    pub(crate) delivery: String,
    pub(crate) fingerprint: Fingerprint,
    /// Of the page's widget; `None` where the route wants none, empty where the page sent none.
    pub(crate) turnstile_token: Option<String>,
    /// The JSON that goes to the origin.
    pub(crate) body: String,
}

/// The Durable Object class `Caller`.
#[wasm_bindgen]
pub struct Caller {
    user: Rc<User>,
}

struct User {
    state: ObjectState,
    env: Env,
    store: Option<Store>,
    /// Keys whose call is under way.
    running: RefCell<BTreeSet<String>>,
}

#[wasm_bindgen]
impl Caller {
    /// Called by the runtime when the first call of this user comes in. Never throws.
    #[wasm_bindgen(constructor)]
    pub fn new(state: ObjectState, env: Env) -> Self {
        let store = Store::open(port::sql_of(&state))
            .map_err(|broken| log::broken("caller-open", &broken.0))
            .ok();
        Self {
            user: Rc::new(User {
                state,
                env,
                store,
                running: RefCell::default(),
            }),
        }
    }

    /// A call of the gate.
    pub fn fetch(&self, request: Request) -> JsValue {
        let user = Rc::clone(&self.user);
        task::run(async move {
            let asked = task::wait(port::body_text(&request))
                .await
                .ok()
                .and_then(|text| text.as_string());
            let asked = asked.and_then(|text| serde_json::from_str::<Asked>(&text).ok());
            let answer = match (&user.store, asked) {
                (Some(store), Some(asked)) => answer_to(&user, store, &asked).await,
                _ => broken(),
            };
            answer.into_response()
        })
    }

    /// The runtime's clock struck: keys older than a day are forgotten.
    ///
    /// # Errors
    /// The store did not open: the runtime then repeats the alarm.
    pub fn alarm(&self) -> Result<(), JsValue> {
        let Some(store) = &self.user.store else {
            return Err(js_sys::Error::new("the store did not open").into());
        };
        let now = clock::now();
        let before = tollgate_shared::time::Timestamp::from_unix_ms(now.unix_ms().saturating_sub(KEPT_MS));
        // A failure is tried again as if something were left.
        if store.expire(before).unwrap_or(true) {
            self.user.arm();
        }
        Ok(())
    }
}

async fn answer_to(user: &User, store: &Store, asked: &Asked) -> Answer {
    match admit(user, store, asked) {
        Ok(()) => {}
        Err(answer) => return answer,
    }
    // After this point the key is ours: it must be finished or let go.
    let settings = config::settings(&user.env);
    let reply = match turnstile::check(&settings, asked).await {
        Ok(()) => ask_origin(user, &settings, asked).await,
        Err(refusal) => Err(refusal),
    };
    let ended = match reply.as_ref().ok().filter(|reply| pins(reply)) {
        Some(reply) => store.finish(&asked.key, reply),
        None => store.forget(&asked.key),
    };
    user.running.borrow_mut().remove(&asked.key);
    if let Err(broken) = ended {
        log::broken("caller-finish", &broken.0);
    }
    reply.map_or_else(|refusal| refusal, |reply| shown(reply, false))
}

async fn ask_origin(user: &User, settings: &Settings, asked: &Asked) -> Result<Reply, Answer> {
    let question = Question {
        method: "POST",
        path: asked.target.path(),
        delivery: &asked.delivery,
        subject: &asked.user,
        body: asked.body.as_bytes(),
        budget_ms: BUDGET_MS,
    };
    let reply = origin::ask(&user.env, settings, &question, clock::now()).await;
    reply.ok().filter(passes).ok_or_else(unreachable_origin)
}

/// The ladder: known key, then bucket, then the key is taken. One synchronous block.
fn admit(user: &User, store: &Store, asked: &Asked) -> Result<(), Answer> {
    let failed = |failure: Broken| {
        log::broken("caller-admit", &failure.0);
        broken()
    };
    let now = clock::now();
    let running = user.running.borrow().contains(&asked.key);
    let known = store.find(&asked.key).map_err(failed)?;
    match decide(known.as_ref(), &asked.fingerprint, running, now) {
        Decision::Start => {}
        Decision::Replay(reply) => return Err(shown(reply, true)),
        Decision::InFlight => return Err(in_flight()),
        Decision::Mismatch(field) => return Err(mismatch(&field)),
    }
    let full_at = store.full_at().map_err(failed)?;
    let taken = bucket::take(full_at, now).map_err(answer::limited)?;
    store.take(taken).map_err(failed)?;
    store.begin(&asked.key, &asked.fingerprint, now).map_err(failed)?;
    user.running.borrow_mut().insert(asked.key.clone());
    user.arm();
    Ok(())
}

impl User {
    /// Sets the alarm a day ahead: by then every key of today is to be forgotten.
    fn arm(&self) {
        let at = clock::now().plus(KEPT);
        if let Err(thrown) = port::arm(&self.state, port::number(at.unix_ms())) {
            log::broken("caller-arm", &format!("{thrown:?}"));
        }
    }
}

fn shown(reply: Reply, replayed: bool) -> Answer {
    let has_header = !reply.header.is_empty();
    let answer = passed_on(reply);
    let answer = if has_header {
        answer.header("retry-after", "5")
    } else {
        answer
    };
    if replayed {
        answer.header("idempotency-replayed", "true")
    } else {
        answer
    }
}

/// A reply of one of the statuses that a route promises, as the caller's answer; any other is no answer of the origin's.
pub(crate) fn promised(reply: Result<Reply, Unreachable>, statuses: &[u16]) -> Result<Answer, Answer> {
    let reply = reply.ok().filter(|reply| statuses.contains(&reply.status));
    reply.map(passed_on).ok_or_else(unreachable_origin)
}

/// Status and body as they are, one of two types, kept by no cache.
fn passed_on(reply: Reply) -> Answer {
    let mut answer = Answer::json(reply.status, reply.body, "answered");
    answer.lines = format!(
        "content-type: {}\ncache-control: no-store",
        media_type(&reply.content_type)
    );
    answer
}

/// One of the two types that the origin answers with: what comes from elsewhere is not put into a header as it is.
pub(crate) fn media_type(content_type: &str) -> &'static str {
    if content_type.starts_with(tollgate_shared::problem::CONTENT_TYPE) {
        tollgate_shared::problem::CONTENT_TYPE
    } else {
        "application/json"
    }
}

fn in_flight() -> Answer {
    let problem = Problem::new(
        409,
        "idempotency-in-flight",
        "A request with this Idempotency-Key is under way",
    )
    .detail("Wait for its answer, or send the same request again a little later.");
    Answer::problem(&problem).header("retry-after", "1")
}

fn mismatch(field: &str) -> Answer {
    let problem = Problem::new(
        422,
        "idempotency-mismatch",
        "The Idempotency-Key was used for another request",
    )
    .detail(format!(
        "Field {field} differs from the first request. Use a new key for a new purchase."
    ))
    .with("field", field);
    Answer::problem(&problem)
}

fn broken() -> Answer {
    answer::unavailable("caller-unavailable", "The call cannot be recorded now")
}

/// The origin gave no answer that a client may see.
pub(crate) fn unreachable_origin() -> Answer {
    let problem = Problem::new(502, "origin-unavailable", "The payment service does not answer")
        .detail("Nothing was charged. Try again with the same Idempotency-Key.");
    Answer::problem(&problem).header("retry-after", "5")
}
