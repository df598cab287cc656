//! X-CSRF-Token: a page shows that it can read what it was answered (PU-2, ED-6).
//!
//! `GET /csrf-token` → session → **issue** → the page; checkout, a change of plan → writing → **check**.
//!
//! The token is bound to the session by a MAC (`shared::csrf`), so nothing is kept. Sessions come in a header, which a form of
//! another page cannot send; the token stands beside it for the day on which somebody puts the session into a cookie.
//! Invariants: without the setting every checkout is refused; a missing token and a wrong one get the same answer.
//! Failure: 403, or 503 without the setting.

use tollgate_shared::csrf::{RANDOM_BYTES, is_genuine, token};
use tollgate_shared::problem::Problem;
use tollgate_shared::session::Session;

use crate::answer::{self, Answer};
use crate::config::Settings;
use crate::receive::{self, Callers};
use crate::{Call, cors, port, session};

/// A new token of the caller's session.
pub(crate) async fn issue(call: &Call<'_>) -> Answer {
    let headers = port::headers(call.request, "origin\nauthorization");
    let (page, authorization) = headers.split_once('\n').unwrap_or_default();
    let (Ok(answer) | Err(answer)) = try_issue(call, authorization).await;
    cors::readable(call.settings, page, answer)
}

async fn try_issue(call: &Call<'_>, authorization: &str) -> Result<Answer, Answer> {
    receive::body(call.request, call.env, call.head, Callers::Readers).await?;
    let session = session::session(call.settings, authorization, call.head.received_at)?;
    let secrets = call.settings.csrf.as_ref().map_err(|_| not_configured())?;
    let random = port::random(u32::try_from(RANDOM_BYTES).unwrap_or_default());
    let random: [u8; RANDOM_BYTES] = random.try_into().map_err(|_| not_configured())?;
    let token = token(&secrets.current, &session.id, &random);
    let body = serde_json::json!({ "csrfToken": token });
    Ok(Answer::json(200, body.to_string(), "answered"))
}

/// Refuses a token that was not made for this session.
pub(crate) fn check(settings: &Settings, session: &Session, token: &str) -> Result<(), Answer> {
    let secrets = settings.csrf.as_ref().map_err(|_| not_configured())?;
    if is_genuine(secrets, &session.id, token) {
        return Ok(());
    }
    let problem = Problem::new(403, "csrf-refused", "The CSRF token is needed").detail(
        "Send X-CSRF-Token with what GET /csrf-token answered in this session; after 403, ask for a new one.",
    );
    Err(Answer::problem(&problem))
}

fn not_configured() -> Answer {
    answer::not_configured("csrf-not-configured", "CSRF tokens are not configured")
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::config::tests::settings_of;
    use tollgate_shared::csrf::token;
    use tollgate_shared::secret::Secret;
    use tollgate_shared::session::Session;
    use tollgate_shared::time::Timestamp;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const OLD: &str = "fedcba9876543210fedcba9876543210";

    fn session(id: &str) -> Session {
        Session {
            user: "user-1".parse().unwrap(),
            id: id.to_owned(),
            expires_at: Timestamp::from_unix_seconds(0),
        }
    }

    #[test]
    fn pu_2_ed_6_a_checkout_needs_the_token_of_its_session() {
        let settings = settings_of(&format!("CSRF_SECRET={SECRET}\nCSRF_SECRET_PREVIOUS={OLD}"));
        let of = |secret: &str| token(&Secret::new(secret.to_owned()), "s-1", &[7; 64]);
        for secret in [SECRET, OLD] {
            assert!(check(&settings, &session("s-1"), &of(secret)).is_ok());
            assert_eq!(
                check(&settings, &session("s-2"), &of(secret)).unwrap_err().status,
                403
            );
        }
        for wrong in ["", "x", &of("another-secret-of-32-bytes-or-more")] {
            assert_eq!(
                check(&settings, &session("s-1"), wrong).unwrap_err().status,
                403,
                "{wrong}"
            );
        }
    }

    #[test]
    fn pu_2_without_the_setting_nothing_is_sold() {
        for lines in ["", "CSRF_SECRET=short"] {
            let refused = check(&settings_of(lines), &session("s-1"), "x").unwrap_err();
            assert_eq!(
                (refused.status, refused.outcome.as_ref()),
                (503, "csrf-not-configured")
            );
        }
    }
}
