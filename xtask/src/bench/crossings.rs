//! How often one notice crosses between wasm and JavaScript, by the name of the function crossed.
//!
//! `edge` → **`measure`** (the worker with `count.mjs` in front of it) → a table for the one who removes crossings.
//!
//! Invariant: counts are divided by the notices that were sent between two readings, so a start-up crossing does
//! not show. Nothing is timed here. Not here: which crossing is worth removing.
//! Failure: a line that is not `count direction name` is an error: the counting module has changed.

use anyhow::{Context, Result, ensure};

use super::load::Connection;
use super::notices;
use super::workers::Running;

/// Notices a count is divided by.
const NOTICES: usize = 100;

/// One function that is crossed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Crossing {
    /// `wasm->js name` or `js->wasm name`.
    pub(super) name: String,
    /// Calls in [`NOTICES`] notices.
    pub(super) calls: usize,
}

/// Sends notices from number `first` on to `path` and returns the crossings, most frequent first.
pub(super) async fn measure(counted: &Running, path: &str, first: usize) -> Result<Vec<Crossing>> {
    let mut connection = Connection::open(counted.address).await?;
    for warm_up in 0..16 {
        send(&mut connection, path, first.saturating_add(warm_up)).await?;
    }
    read_counts(&mut connection).await?;
    for number in 0..NOTICES {
        send(
            &mut connection,
            path,
            first.saturating_add(number).saturating_add(16),
        )
        .await?;
    }
    read_counts(&mut connection).await
}

/// Calls a notice, in hundredths, as text.
pub(super) fn per_notice(calls: usize) -> String {
    let hundredths = calls.saturating_mul(100).div_euclid(NOTICES);
    format!("{}.{:02}", hundredths.div_euclid(100), hundredths.rem_euclid(100))
}

/// The sum of one direction.
pub(super) fn total(crossings: &[Crossing], direction: &str) -> usize {
    crossings
        .iter()
        .filter(|crossing| crossing.name.starts_with(direction))
        .map(|crossing| crossing.calls)
        .sum()
}

async fn send(connection: &mut Connection, path: &str, number: usize) -> Result<()> {
    let answer = connection
        .ask(&notices::request(path, &notices::body(number)))
        .await?;
    ensure!(
        answer.status == 200,
        "the counted worker answers {}: {}",
        answer.status,
        String::from_utf8_lossy(&answer.body)
    );
    Ok(())
}

async fn read_counts(connection: &mut Connection) -> Result<Vec<Crossing>> {
    let answer = connection
        .ask(b"GET /bench/crossings HTTP/1.1\r\nHost: bench.invalid\r\n\r\n")
        .await?;
    let text = String::from_utf8(answer.body).context("the crossings are not text")?;
    let mut crossings = text.lines().map(parse_line).collect::<Result<Vec<_>>>()?;
    crossings.sort_by(|left, right| {
        right
            .calls
            .cmp(&left.calls)
            .then_with(|| left.name.cmp(&right.name))
    });
    Ok(crossings)
}

fn parse_line(line: &str) -> Result<Crossing> {
    let (calls, name) = line
        .split_once(' ')
        .with_context(|| format!("not a count: {line:?}"))?;
    Ok(Crossing {
        name: name.to_owned(),
        calls: calls.parse().with_context(|| format!("not a count: {line:?}"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_and_divided() {
        let crossing = parse_line("150 wasm->js __wbg_get_1").unwrap();
        assert_eq!(
            (crossing.name.as_str(), per_notice(crossing.calls).as_str()),
            ("wasm->js __wbg_get_1", "1.50")
        );
        assert_eq!(
            (
                total(std::slice::from_ref(&crossing), "wasm->js"),
                total(&[crossing], "js->wasm")
            ),
            (150, 0)
        );
        assert!(parse_line("many wasm->js x").is_err());
    }
}
