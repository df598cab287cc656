//! One purchase, as a customer's browser makes it: session, checkout, cashier, pay, wait, look into the ledger.
//!
//! `commands::dev` and the stories → **`Buyer`** → an active payment and its ledger entries.
//!
//! Invariant: everything goes over HTTP to the public addresses; only the ledger is read behind them, with the origin's own command.
//! Not here: the browser itself; a form is posted as a browser would post it.
//! Failure: an error that quotes the answer which was not the expected one.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::clock::poll_until;
use crate::run::program::{Programs, run_once};
use crate::stack::settings::TURNSTILE_TOKEN;

/// A customer may look away for a moment before the notice arrives.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

/// A signed-in customer.
#[derive(Debug, Clone)]
pub struct Buyer {
    http: reqwest::Client,
    edge: String,
    sandbox: String,
    token: String,
    csrf_token: String,
}

/// What checkout answered.
#[derive(Debug, Clone)]
pub struct Checkout {
    /// Our id of the payment.
    pub payment_id: String,
    /// Our order number.
    pub order_number: String,
    /// The whole answer.
    pub answer: Value,
}

impl Buyer {
    /// Signs `subject` in at the sandbox and fetches the page's token.
    pub async fn sign_in(http: &reqwest::Client, edge: &str, sandbox: &str, subject: &str) -> Result<Self> {
        let asked = http
            .post(format!("{sandbox}/control/v1/sessions"))
            .json(&json!({ "sub": subject }));
        let answer = expect_json(asked, "a session").await?;
        let token = text(&answer, "token")?;
        let asked = http.get(format!("{edge}/csrf-token")).bearer_auth(&token);
        let answer = expect_json(asked, "a CSRF token").await?;
        Ok(Self {
            http: http.clone(),
            edge: edge.to_owned(),
            sandbox: sandbox.to_owned(),
            token,
            csrf_token: text(&answer, "csrfToken")?,
        })
    }

    /// Asks the edge to sell `plan` by `provider`; the key makes a repeat the same purchase.
    pub async fn checkout(&self, provider: &str, plan: &str, idempotency_key: &str) -> Result<Checkout> {
        let body = json!({ "planId": plan, "provider": provider });
        self.ask_checkout(&body, idempotency_key).await
    }

    /// The same with other members, and the page's Turnstile token added.
    pub async fn ask_checkout(&self, body: &Value, idempotency_key: &str) -> Result<Checkout> {
        let mut body = body.clone();
        body.as_object_mut()
            .context("a checkout is an object")?
            .insert("turnstileToken".to_owned(), json!(TURNSTILE_TOKEN));
        let answer = self
            .write("/api/payments/checkout", idempotency_key, &body)
            .await?;
        Ok(Checkout {
            payment_id: text(&answer, "paymentId")?,
            order_number: text(&answer, "orderNumber")?,
            answer,
        })
    }

    /// Writes something at the edge, as the signed-in page does.
    pub async fn write(&self, path: &str, idempotency_key: &str, body: &Value) -> Result<Value> {
        let asked = self.http.post(format!("{}{path}", self.edge));
        let asked = asked
            .bearer_auth(&self.token)
            .header("x-csrf-token", &self.csrf_token)
            .json(body);
        expect_json(asked.header("idempotency-key", idempotency_key), path).await
    }

    /// Posts the checkout's form to the provider and returns the provider's number of the trade, from its page.
    pub async fn open_cashier(&self, checkout: &Checkout) -> Result<String> {
        let form = checkout.answer.get("form").context("the checkout has no form")?;
        let fields = form.get("fields").cloned().context("the form has no fields")?;
        let fields: Vec<(String, String)> =
            serde_json::from_value(fields).context("read the form's fields")?;
        let asked = self.http.post(text(form, "action")?).form(&fields);
        let mut answer = asked.send().await.context("post the form")?;
        for _ in 0..3 {
            let Some(target) = answer.headers().get("location") else {
                break;
            };
            let target = answer
                .url()
                .join(target.to_str().context("read a redirect")?)
                .context("read a redirect")?;
            answer = self
                .http
                .get(target)
                .send()
                .await
                .context("follow the cashier's redirect")?;
        }
        let status = answer.status();
        let page = answer.text().await.context("read the cashier's page")?;
        let number = between(&page, "id=\"trade-no\">", "<");
        number.with_context(|| format!("no trade number on the cashier's page ({status}): {page}"))
    }

    /// Presses "pay" on the cashier's page.
    pub async fn pay(&self, provider: &str, trade: &str) -> Result<()> {
        let url = format!("{}/{provider}/cashier/{trade}/pay", self.sandbox);
        let answer = self
            .http
            .post(url)
            .form(&[("method", "")])
            .send()
            .await
            .context("press pay")?;
        ensure!(
            answer.status().is_success() || answer.status().is_redirection(),
            "pay answered {}",
            answer.status()
        );
        Ok(())
    }

    /// Presses "return to the shop with the result" on the page of a settled trade; where the shop sends the browser on.
    pub async fn bring_result(&self, provider: &str, trade: &str) -> Result<String> {
        let url = format!("{}/{provider}/cashier/{trade}", self.sandbox);
        let asked = self.http.get(url).send().await.context("look at the cashier")?;
        let page = asked.text().await.context("read the cashier's page")?;
        let (target, inputs) = result_form(&page).with_context(|| format!("no result on {page}"))?;
        let asked = self.http.post(target).form(&inputs);
        let answer = asked.send().await.context("bring the result")?;
        let location = answer.headers().get("location");
        let location = location.and_then(|location| location.to_str().ok());
        let location = location.map(str::to_owned);
        location.with_context(|| format!("the shop answered {}", answer.status()))
    }

    /// The status that the edge tells the payment's owner.
    pub async fn status(&self, payment_id: &str) -> Result<String> {
        let asked = self
            .http
            .get(format!("{}/api/payments/{payment_id}/status", self.edge))
            .bearer_auth(&self.token);
        text(&expect_json(asked, "a status").await?, "status")
    }

    /// Polls until the payment is active.
    pub async fn wait_active(&self, payment_id: &str) -> Result<()> {
        poll_until(
            &format!("payment {payment_id} becoming active"),
            SETTLE_LIMIT,
            || async { Ok((self.status(payment_id).await? == "active").then_some(())) },
        )
        .await
    }

    /// The whole purchase; `say` hears of each step.
    pub async fn buy(
        &self,
        provider: &str,
        plan: &str,
        idempotency_key: &str,
        say: impl Fn(&str),
    ) -> Result<Checkout> {
        let checkout = self.checkout(provider, plan, idempotency_key).await?;
        say(&format!(
            "checkout: payment {} as order {}",
            checkout.payment_id, checkout.order_number
        ));
        self.settle(provider, &checkout, say).await?;
        Ok(checkout)
    }

    /// The purchase from the cashier on.
    pub async fn settle(&self, provider: &str, checkout: &Checkout, say: impl Fn(&str)) -> Result<()> {
        let trade = self.open_cashier(checkout).await?;
        say(&format!("the cashier opened trade {trade}"));
        self.pay(provider, &trade).await?;
        say("paid at the cashier; the provider sends its notice to the edge");
        self.wait_active(&checkout.payment_id).await?;
        say("the edge says: active");
        Ok(())
    }
}

/// The ledger's entries of a payment, as `tollgate ledger show` prints them; an error unless they are there and balance.
pub async fn balanced_entries(
    programs: &Programs,
    database_url: &str,
    payment_id: &str,
) -> Result<Vec<Value>> {
    let settings = BTreeMap::from([("DATABASE_URL".to_owned(), database_url.to_owned())]);
    let printed = run_once(
        &programs.origin,
        &["ledger", "show", "--payment", payment_id],
        &settings,
    )
    .await?;
    let entries = printed
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<Value>, _>>();
    let entries = entries.with_context(|| format!("read the entries: {printed}"))?;
    check_balance(&entries).with_context(|| format!("payment {payment_id}: {printed}"))?;
    Ok(entries)
}

fn check_balance(entries: &[Value]) -> Result<()> {
    ensure!(!entries.is_empty(), "the ledger has no entry of it");
    let amount = |entry: &Value| entry.get("amount").and_then(Value::as_i64);
    let sum = entries
        .iter()
        .try_fold(0_i64, |sum, entry| sum.checked_add(amount(entry)?));
    ensure!(sum == Some(0), "its entries do not balance");
    Ok(())
}

async fn expect_json(asked: reqwest::RequestBuilder, what: &str) -> Result<Value> {
    let answer = asked.send().await.with_context(|| format!("ask for {what}"))?;
    let (status, body) = (
        answer.status(),
        answer.text().await.with_context(|| format!("read {what}"))?,
    );
    ensure!(status.is_success(), "{what} was refused ({status}): {body}");
    serde_json::from_str(&body).with_context(|| format!("{what} is not JSON: {body}"))
}

fn text(value: &Value, name: &str) -> Result<String> {
    let found = value.get(name).and_then(Value::as_str).map(str::to_owned);
    found.with_context(|| format!("no `{name}` in {value}"))
}

/// Target and fields of the form that carries a result, on a cashier's page.
fn result_form(page: &str) -> Option<(String, Vec<(String, String)>)> {
    let button = page.find("id=\"result\"")?;
    let start = page.get(..button)?.rfind("<form ")?;
    let form = page.get(start..button)?;
    let inputs = form.split("type=\"hidden\" name=\"").skip(1).map(|input| {
        let (name, rest) = input.split_once("\" value=\"")?;
        Some((name.to_owned(), rest.split_once('"')?.0.to_owned()))
    });
    Some((between(form, "action=\"", "\"")?, inputs.collect::<Option<_>>()?))
}

fn between(page: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = page.split_once(before)?;
    rest.split_once(after).map(|(number, _)| number.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_what_the_page_carries() {
        let page = r#"<form action="http://a/x"></form><form method="post" action="http://a/y"><input type="hidden" name="A" value="1"><input type="hidden" name="B" value=""><button class="main" id="result">"#;
        let (target, inputs) = result_form(page).unwrap();
        assert_eq!(target, "http://a/y");
        assert_eq!(inputs, [("A".into(), "1".into()), ("B".into(), String::new())]);
        assert_eq!(result_form("<form action=\"http://a/x\"></form>"), None);
    }

    #[test]
    fn a_ledger_without_entries_or_balance_is_an_error() {
        let entry = |amount: i64| json!({ "amount": amount });
        assert!(check_balance(&[]).is_err());
        assert!(check_balance(&[entry(300), entry(-299)]).is_err());
        assert!(check_balance(&[entry(300), json!({})]).is_err());
        check_balance(&[entry(300), entry(-300)]).unwrap();
    }

    #[test]
    fn the_trade_number_is_read_from_the_page() {
        let page = "<dd><code id=\"trade-no\">2611210001</code></dd>";
        assert_eq!(
            between(page, "id=\"trade-no\">", "<").as_deref(),
            Some("2611210001")
        );
        assert_eq!(between("<html>", "id=\"trade-no\">", "<"), None);
    }
}
