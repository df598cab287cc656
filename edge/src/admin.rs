//! What an operator does by hand, with the admin token (EC-5).
//!
//! route → receive (limit) → **admin** (no query → token → fields) → signed hop → `origin::http::admin`, which keeps the
//! audit trail.
//!
//! The token is checked here, so that it ends at the gate and the origin never has it, as with sessions. It comes as
//! `Authorization: Bearer` or as the form field `token`; a query is refused before anything else, because addresses are
//! logged by everything on the way. Two tokens are valid while one is exchanged.
//! Invariants: without the setting every call is refused; tokens are compared in constant time; a wrong one and none get
//! the same answer. Failure: 400, 401, 415, 503, or the origin's own refusal.

use tollgate_shared::crypto;
use tollgate_shared::form::Form;
use tollgate_shared::problem::Problem;
use uuid::Uuid;

use crate::answer::{self, Answer};
use crate::caller::promised;
use crate::config::Settings;
use crate::origin::{self, Question};
use crate::receive::{self, Callers};
use crate::session::bearer;
use crate::{Call, port};

/// An operator waits longer than a page.
const BUDGET_MS: u32 = 10_000;
const FORM: &str = "application/x-www-form-urlencoded";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action<'a> {
    /// Try a refused charge again now.
    Retry,
    /// How a user's subscriptions are; the id as it stands in the path.
    Status(&'a str),
    /// Let the jobs of subscriptions run now.
    Maintenance,
}

/// A question for the origin.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    method: &'static str,
    path: String,
    body: String,
}

/// The answer to the operator.
pub(crate) async fn admin(call: &Call<'_>, action: Action<'_>) -> Answer {
    match try_admin(call, action).await {
        Ok(answer) | Err(answer) => answer,
    }
}

async fn try_admin(call: &Call<'_>, action: Action<'_>) -> Result<Answer, Answer> {
    no_query(call.head.has_query)?;
    let bytes = receive::body(call.request, call.env, call.head, Callers::Writers).await?;
    let headers = port::headers(call.request, "authorization\ncontent-type");
    let (authorization, content_type) = headers.split_once('\n').unwrap_or_default();
    let form = Fields::read(content_type, &bytes)?;
    check(call.settings, authorization, &form)?;
    let asked = asked(action, &form)?;
    let question = Question {
        method: asked.method,
        path: &asked.path,
        delivery: &call.head.delivery.to_string(),
        subject: "",
        body: asked.body.as_bytes(),
        budget_ms: BUDGET_MS,
    };
    let reply = origin::ask(call.env, call.settings, &question, call.head.received_at).await;
    promised(reply, &[200, 202, 404, 409])
}

fn no_query(has_query: bool) -> Result<(), Answer> {
    if !has_query {
        return Ok(());
    }
    let problem = Problem::new(400, "query-refused", "These routes take no query").detail(
        "A token in an address is logged on its way: send Authorization: Bearer, or the form field token. If a token was \
         sent here, exchange it.",
    );
    Err(Answer::problem(&problem))
}

/// The fields of a form; none where there is no body.
#[derive(Debug)]
struct Fields(Option<Form>);

impl Fields {
    fn read(content_type: &str, bytes: &[u8]) -> Result<Self, Answer> {
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        let media = content_type.split(';').next().unwrap_or_default().trim();
        if !media.eq_ignore_ascii_case(FORM) {
            let problem =
                Problem::new(415, "not-a-form", "The body is not a form").detail(format!("Send {FORM}."));
            return Err(Answer::problem(&problem));
        }
        let malformed = Problem::new(400, "malformed-body", "The body cannot be read");
        let form = Form::parse(bytes).map_err(|_| Answer::problem(&malformed))?;
        Ok(Self(Some(form)))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.as_ref()?.get(name)
    }
}

fn check(settings: &Settings, authorization: &str, form: &Fields) -> Result<(), Answer> {
    let Ok(tokens) = &settings.admin else {
        return Err(answer::not_configured(
            "admin-not-configured",
            "The admin token is not configured",
        ));
    };
    let given = bearer(authorization)
        .or_else(|| form.get("token"))
        .unwrap_or_default()
        .as_bytes();
    // Every accepted one is compared, so that the time does not tell which matched.
    let matches = |token: &tollgate_shared::secret::Secret| crypto::equal(token.expose().as_bytes(), given);
    if tokens.accepted().fold(false, |any, token| matches(token) | any) {
        return Ok(());
    }
    let problem = Problem::new(401, "admin-token-refused", "The admin token is needed")
        .detail("Send Authorization: Bearer, or the form field token.");
    Err(Answer::problem(&problem).header("www-authenticate", "Bearer"))
}

fn asked(action: Action<'_>, form: &Fields) -> Result<Asked, Answer> {
    match action {
        Action::Retry => {
            let id = form
                .get("subscription_id")
                .and_then(|id| Uuid::try_parse(id).ok());
            let id = id.ok_or_else(|| invalid("subscription_id must be the id of a subscription."))?;
            Ok(Asked {
                method: "POST",
                path: "/internal/v1/admin/retry".to_owned(),
                body: serde_json::json!({ "subscriptionId": id.to_string() }).to_string(),
            })
        }
        Action::Status(user) => {
            let usable = !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_graphic());
            let user = usable.then_some(user);
            let user = user.ok_or_else(|| invalid("The last part of the path must be a user's id."))?;
            Ok(Asked {
                method: "GET",
                // As it came: it is signed as it is, and the origin decodes and checks it.
                path: format!("/internal/v1/admin/users/{user}/subscriptions"),
                body: String::new(),
            })
        }
        Action::Maintenance => Ok(Asked {
            method: "POST",
            path: "/internal/v1/admin/maintenance".to_owned(),
            body: String::new(),
        }),
    }
}

fn invalid(detail: &str) -> Answer {
    let problem = Problem::new(400, "invalid-request", "A field is missing or out of range");
    Answer::problem(&problem.detail(detail))
}

#[cfg(test)]
mod tests {
    use super::{Action, Fields, asked, check, no_query};
    use crate::config::tests::settings_of;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    const OLD: &str = "fedcba9876543210fedcba9876543210";

    fn fields(body: &str) -> Fields {
        Fields::read(super::FORM, body.as_bytes()).unwrap()
    }

    #[test]
    fn ec_5_the_token_comes_in_the_header_or_the_form_and_two_are_valid() {
        let settings = settings_of(&format!(
            "ADMIN_WEBHOOK_TOKEN={TOKEN}\nADMIN_WEBHOOK_TOKEN_PREVIOUS={OLD}"
        ));
        let status = |authorization: &str, body: &str| {
            check(&settings, authorization, &fields(body)).map_or_else(|answer| answer.status, |()| 200)
        };
        for token in [TOKEN, OLD] {
            assert_eq!(status(&format!("Bearer {token}"), ""), 200);
            assert_eq!(status("", &format!("token={token}")), 200);
        }
        for (authorization, body) in [
            ("", ""),
            ("Bearer ", ""),
            ("Bearer 0123456789abcdef0123456789abcdeF", ""),
            ("Basic 0123456789abcdef0123456789abcdef", ""),
            (TOKEN, ""),
            ("", "token="),
            ("", "Token=0123456789abcdef0123456789abcdef"),
            ("Bearer wrong", "token=0123456789abcdef0123456789abcdef"),
        ] {
            assert_eq!(status(authorization, body), 401, "{authorization:?} {body:?}");
        }
    }

    #[test]
    fn ec_5_without_a_long_enough_token_nobody_is_let_in() {
        for lines in ["", "ADMIN_WEBHOOK_TOKEN=short"] {
            let refused = check(&settings_of(lines), "Bearer short", &fields("token=short"));
            assert_eq!(refused.unwrap_err().status, 503, "{lines:?}");
        }
    }

    #[test]
    fn ec_5_a_query_is_refused_with_the_reason() {
        assert!(no_query(false).is_ok());
        let refused = no_query(true).unwrap_err();
        assert_eq!(refused.status, 400);
        assert!(refused.body.contains("is logged on its way"));
    }

    #[test]
    fn ec_5_only_forms_are_read() {
        assert!(Fields::read("application/x-www-form-urlencoded; charset=UTF-8", b"a=b").is_ok());
        assert!(Fields::read("", b"").is_ok());
        for media in ["", "application/json", "multipart/form-data"] {
            assert_eq!(Fields::read(media, b"{}").unwrap_err().status, 415, "{media}");
        }
    }

    #[test]
    fn ec_5_each_action_has_its_route_and_bad_fields_are_refused() {
        let id = "01997c5e-0000-7000-8000-000000000001";
        let retry = asked(Action::Retry, &fields(&format!("subscription_id={id}"))).unwrap();
        assert_eq!(retry.body, format!(r#"{{"subscriptionId":"{id}"}}"#));
        let status = asked(Action::Status("auth0%7C1"), &fields("")).unwrap();
        assert_eq!(status.path, "/internal/v1/admin/users/auth0%7C1/subscriptions");
        assert_eq!(asked(Action::Maintenance, &fields("")).unwrap().method, "POST");
        for body in ["", "subscription_id=", "subscription_id=7", "subscriptionId=7"] {
            assert_eq!(
                asked(Action::Retry, &fields(body)).unwrap_err().status,
                400,
                "{body:?}"
            );
        }
        for user in ["", "a b", "\u{9375}"] {
            assert_eq!(
                asked(Action::Status(user), &fields("")).unwrap_err().status,
                400,
                "{user:?}"
            );
        }
    }
}
