//! What an accountant looks at after a story, and orders to tell stories about.
//!
//! A story → **`Books`** → rows of the ledger and the inbox, read with a client of its own.
//!
//! Invariant: read only. `settled` fails unless every transaction balances and `ledger_faults` finds nothing.
//! Failure: an error that shows the figure which is wrong.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tokio_postgres::Client;
use xtask::clock::poll_until;
use xtask::stack::{PLAN, Stack};

/// A backlog of hundreds of events under a loaded machine, with retries on the way.
const CATCH_UP_LIMIT: Duration = Duration::from_mins(3);

/// A client on the stack's database.
pub(crate) struct Books(Client);

impl Books {
    /// Opens the books.
    pub(crate) async fn of(stack: &Stack) -> Result<Self> {
        Ok(Self(stack.database.client().await?))
    }

    /// A single number.
    pub(crate) async fn count(&self, sql: &str) -> Result<i64> {
        let row = self.0.query_one(sql, &[]).await.with_context(|| sql.to_owned())?;
        row.try_get(0).context("read a number")
    }

    /// Texts of one column.
    pub(crate) async fn texts(&self, sql: &str) -> Result<Vec<String>> {
        let rows = self.0.query(sql, &[]).await.with_context(|| sql.to_owned())?;
        rows.iter()
            .map(|row| row.try_get(0).context("read a text"))
            .collect()
    }

    /// Waits until exactly `expected` events have been applied; more is an error at once.
    pub(crate) async fn wait_applied(&self, expected: i64) -> Result<()> {
        let what = format!("{expected} events being applied");
        poll_until(&what, CATCH_UP_LIMIT, || async {
            let applied = self
                .count("select count(*) from tollgate.inbox_events where status = 'applied'")
                .await?;
            ensure!(
                applied <= expected,
                "{applied} events applied, expected {expected}"
            );
            Ok((applied == expected).then_some(()))
        })
        .await
    }

    /// The ledger holds exactly `payments` settlements of NT$300, balanced, without a fault.
    pub(crate) async fn settled(&self, payments: i64) -> Result<()> {
        for (what, sql, expected) in [
            (
                "transactions",
                "select count(*) from tollgate.ledger_transaction",
                payments,
            ),
            (
                "entries",
                "select count(*) from tollgate.ledger_entry",
                payments.saturating_mul(2),
            ),
            (
                "sales",
                "select coalesce(sum(-amount), 0)::bigint from tollgate.ledger_entry where account_kind = 'sales'",
                payments.saturating_mul(300),
            ),
            (
                "unbalanced transactions",
                "select count(*) from (select transaction_id from tollgate.ledger_entry
                 group by transaction_id, unit having sum(amount) <> 0) as unbalanced",
                0,
            ),
            ("faults", "select count(*) from tollgate.ledger_faults()", 0),
            (
                "active payments",
                "select count(*) from tollgate.payments where status = 'active'",
                payments,
            ),
        ] {
            let found = self.count(sql).await?;
            ensure!(found == expected, "{what}: {found}, expected {expected}");
        }
        Ok(())
    }
}

/// Order numbers of `count` payments, each of a customer of its own, waiting to be paid at ECPay.
pub(crate) async fn orders(stack: &Stack, count: usize) -> Result<Vec<String>> {
    let mut orders = Vec::with_capacity(count);
    let numbers: Vec<usize> = (0..count).collect();
    for chunk in numbers.chunks(16) {
        let mut asked = JoinSet::new();
        for number in chunk {
            let (edge, sandbox) = (stack.worker.base_url(), stack.sandbox.base_url());
            let (http, subject) = (stack.http.clone(), format!("customer-{number}"));
            asked.spawn(async move {
                let buyer = xtask::stack::purchase::Buyer::sign_in(&http, &edge, &sandbox, &subject).await?;
                buyer.checkout("ecpay", PLAN, "one").await
            });
        }
        while let Some(checkout) = asked.join_next().await {
            orders.push(checkout.context("a checkout was dropped")??.order_number);
        }
    }
    Ok(orders)
}
