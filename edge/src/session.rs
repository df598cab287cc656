//! Who a browser's call is from.
//!
//! writing, status, csrf → **session** → `shared::session`, which checks the token.
//!
//! Invariant: the user is the `sub` of a token whose MAC, algorithm, age and audience were checked; nothing else
//! in the request says who the caller is. No settings: refuse (503), never let pass.
//! Failure: 401 with one reason for every token, so that a forger learns nothing.

use tollgate_shared::id::UserId;
use tollgate_shared::problem::Problem;
use tollgate_shared::session::{self, Session};
use tollgate_shared::time::Timestamp;

use crate::answer::{self, Answer};
use crate::config::Settings;

/// The user of an `Authorization` header.
pub(crate) fn user(settings: &Settings, authorization: &str, now: Timestamp) -> Result<UserId, Answer> {
    session(settings, authorization, now).map(|session| session.user)
}

/// The session of an `Authorization` header.
pub(crate) fn session(settings: &Settings, authorization: &str, now: Timestamp) -> Result<Session, Answer> {
    let Ok(rules) = &settings.session else {
        return Err(answer::not_configured(
            "session-not-configured",
            "Sessions are not configured",
        ));
    };
    let token = bearer(authorization).ok_or_else(|| refused("Send Authorization: Bearer <token>."))?;
    session::verify(rules, token, now).map_err(|_| refused("The token is not valid; sign in again."))
}

/// The scheme's name is case-insensitive (RFC 9110 §11.1).
pub(crate) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn refused(detail: &str) -> Answer {
    let problem = Problem::new(401, "no-session", "A session is needed").detail(detail);
    Answer::problem(&problem).header("www-authenticate", "Bearer")
}

#[cfg(test)]
mod tests {
    use super::{bearer, user};
    use crate::config::tests::settings_of;
    use tollgate_shared::time::Timestamp;

    #[test]
    fn pm_3_no_session_is_401_and_no_settings_503() {
        let now = Timestamp::from_unix_seconds(1_700_000_000);
        let configured = settings_of("SESSION_HS256_SECRET=0123456789abcdef0123456789abcdef");
        for authorization in ["", "Bearer", "Basic dTpw", "Bearer ", "Bearer a.b.c"] {
            assert_eq!(
                user(&configured, authorization, now).unwrap_err().status,
                401,
                "{authorization:?}"
            );
        }
        assert_eq!(
            user(&settings_of(""), "Bearer a.b.c", now).unwrap_err().status,
            503
        );
    }

    #[test]
    fn the_scheme_has_no_case() {
        assert_eq!(bearer("bearer x.y.z"), Some("x.y.z"));
        assert_eq!(bearer("BEARER  x.y.z "), Some("x.y.z"));
        assert_eq!(bearer("Bearerx.y.z"), None);
    }
}
