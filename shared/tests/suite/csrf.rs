//! X-CSRF-Token: OWASP's construction, and what a forger would try (PU-2, ED-6).

use serde_json::Value;
use tollgate_shared::csrf::{RANDOM_BYTES, is_genuine, token};
use tollgate_shared::secret::{Rotating, Secret};

use crate::fixtures::vectors;

const BROWSER: &str = include_str!("../vectors/browser.json");

fn vector(name: &str) -> Value {
    let found = vectors(BROWSER, 3).into_iter().find(|one| one["name"] == name);
    found.unwrap()
}

fn secrets(current: &str, previous: Option<&str>) -> Rotating<Secret> {
    Rotating {
        current: Secret::new(current.to_owned()),
        previous: previous.map(|text| Secret::new(text.to_owned())),
    }
}

struct Case {
    secret: String,
    session: String,
    token: String,
}

fn case(name: &str) -> Case {
    let vector = vector(name);
    let text = |pointer: &str| vector.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    Case {
        secret: text("/keys/secret"),
        session: text("/inputs/sessionID"),
        token: text("/expected/token"),
    }
}

#[test]
fn pu_2_ed_6_the_token_is_owasps_with_the_length_in_digits() {
    let case = case("csrf_owasp_signed_double_submit_hexlen");
    let random: [u8; RANDOM_BYTES] = std::array::from_fn(|index| u8::try_from(index).unwrap());
    let secret = Secret::new(case.secret.clone());
    assert_eq!(token(&secret, &case.session, &random), case.token);
    assert!(is_genuine(
        &secrets(&case.secret, None),
        &case.session,
        &case.token
    ));
    assert!(is_genuine(
        &secrets("another", Some(&case.secret)),
        &case.session,
        &case.token
    ));
}

#[test]
fn pu_2_ed_6_a_token_of_another_session_secret_or_form_is_refused() {
    let case = case("csrf_owasp_signed_double_submit_hexlen");
    let raw = self::case("csrf_owasp_signed_double_submit_rawlen");
    let secrets = secrets(&case.secret, None);
    let (mac, random) = case.token.split_once('.').unwrap();
    for (session, token) in [
        ("", case.token.as_str()),
        ("3f1c2b7a9d5e4f61", &case.token),
        // A session that takes in the framing.
        ("3f1c2b7a9d5e4f60!128", &case.token),
        (&case.session, &raw.token),
        (&case.session, ""),
        (&case.session, "."),
        (&case.session, mac),
        (&case.session, random),
        (&case.session, &format!("{mac}.")),
        (&case.session, &format!(".{random}")),
        (&case.session, &format!("{mac}.{}", &random[2..])),
        (&case.session, &format!("{mac}.{random}00")),
        (&case.session, &format!("{}.{random}", &mac[2..])),
        (&case.session, &format!("{mac}.{}zz", &random[2..])),
        (&case.session, &format!("{random}.{mac}")),
    ] {
        assert!(!is_genuine(&secrets, session, token), "{session} {token}");
    }
    assert!(!is_genuine(
        &self::secrets("another", None),
        &case.session,
        &case.token
    ));
}
