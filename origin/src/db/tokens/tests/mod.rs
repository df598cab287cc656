//! The token functions on a real Postgres: rules, races, a model beside them, mutants, and the plans of their queries.

#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]

mod batch;
mod model;
mod mutants;
mod past;
mod plans;
mod quota;
mod races;
mod random;
mod revocation;
mod rules;

use tollgate_shared::time::Timestamp;

use super::{
    ArticleId, Balance, BucketKind, CompanyId, Deduction, Grant, Outcome, Record, Revocation, TokenAmount,
    TokenError, TokenKey, TokenPlan,
};
use crate::db::sqlstate::TokenRefusal;
use crate::db::{Database, DbError};
use crate::testing::TestDatabase;

/// 2026-01-31 00:00 in Taipei: an anchor that short months do not have.
const ANCHOR_MS: i64 = 1_769_788_800_000;
const DAY_MS: i64 = 86_400_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(ANCHOR_MS + ms)
}

fn company(text: &str) -> CompanyId {
    text.parse().unwrap()
}

fn key(text: &str) -> TokenKey {
    text.parse().unwrap()
}

fn tokens(amount: i64) -> TokenAmount {
    TokenAmount::new(amount).unwrap()
}

fn deduction(k: &str, of: &str, amount: i64) -> Deduction {
    let article: ArticleId = "article-1".parse().unwrap();
    Deduction {
        key: key(k),
        company: company(of),
        article,
        amount: tokens(amount),
        metadata: None,
    }
}

/// A database with calls that take texts and panic on what a test does not expect.
struct Book {
    test: TestDatabase,
    db: Database,
}

impl Book {
    async fn new() -> Self {
        let test = TestDatabase::create().await;
        Self {
            db: test.database(),
            test,
        }
    }

    async fn deduct(&self, k: &str, of: &str, amount: i64, now: i64) -> Outcome {
        let deduction = &deduction(k, of, amount);
        self.db
            .run_tx("test", |tx| async move {
                super::deduct(&tx, deduction, at(now)).await
            })
            .await
            .unwrap()
    }

    async fn batch(&self, deductions: &[Deduction], now: i64) -> Vec<Outcome> {
        let run = self.db.run_tx("test", |tx| async move {
            super::deduct_batch(&tx, deductions, at(now)).await
        });
        run.await.unwrap()
    }

    async fn try_reserve(
        &self,
        k: &str,
        of: &str,
        amount: i64,
        until: i64,
        now: i64,
    ) -> Result<Record, TokenError> {
        let deduction = &deduction(k, of, amount);
        let run = |tx| async move { super::reserve(&tx, deduction, at(until), at(now)).await };
        self.db.run_tx("test", run).await
    }

    async fn reserve(&self, k: &str, of: &str, amount: i64, until: i64, now: i64) -> Record {
        self.try_reserve(k, of, amount, until, now).await.unwrap()
    }

    async fn settle(&self, k: &str, of: &str, amount: i64, now: i64) -> Result<Record, TokenError> {
        let (k, of) = (&key(k), &company(of));
        let run = |tx| async move { super::settle(&tx, k, of, tokens(amount), at(now)).await };
        self.db.run_tx("test", run).await
    }

    async fn release(&self, k: &str, of: &str, now: i64) -> Result<Record, TokenError> {
        let (k, of) = (&key(k), &company(of));
        let run = |tx| async move { super::release(&tx, k, of, Some("job failed"), at(now)).await };
        self.db.run_tx("test", run).await
    }

    async fn compensate(&self, k: &str, of: &str, now: i64) -> Result<Record, TokenError> {
        let (k, of) = (&key(k), &company(of));
        self.db
            .run_tx("test", |tx| async move {
                super::compensate(&tx, k, of, at(now)).await
            })
            .await
    }

    async fn try_grant(&self, grant: &Grant, now: i64) -> Result<bool, TokenError> {
        self.db
            .run_tx(
                "test",
                |tx| async move { super::grant(&tx, grant, at(now)).await },
            )
            .await
    }

    /// Purchased tokens; the key is new each time.
    async fn buy(&self, of: &str, amount: i64, now: i64) -> String {
        self.give(of, BucketKind::Purchased, amount, 100, None, now).await
    }

    /// Pays a purchase back.
    async fn revoke(&self, k: &str, now: i64) -> Option<Revocation> {
        let k = &key(k);
        let run = |tx| async move { super::revoke_grant(&tx, k, at(now)).await };
        self.db.run_tx("test", run).await.unwrap()
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a bucket has so many facts, and the tests read as a table of them"
    )]
    async fn give(
        &self,
        of: &str,
        kind: BucketKind,
        amount: i64,
        priority: i16,
        until: Option<i64>,
        now: i64,
    ) -> String {
        let k = format!("grant-{of}-{now}-{amount}-{}", kind.code());
        let expires_at = until.map(at);
        let grant = Grant {
            key: key(&k),
            company: company(of),
            kind,
            amount: tokens(amount),
            priority,
            expires_at,
        };
        assert!(!self.try_grant(&grant, now).await.unwrap());
        k
    }

    async fn plan(&self, of: &str, quota: i64, rollover_max: i64, expired_share_days: i32, now: i64) {
        let of = &company(of);
        let period_anchor = Some(at(0));
        let plan = &TokenPlan {
            plan: None,
            monthly_quota: quota,
            rollover_max,
            expired_share_days,
            period_anchor,
        };
        self.db
            .run_tx("test", |tx| async move {
                super::set_plan(&tx, of, plan, at(now)).await
            })
            .await
            .unwrap();
    }

    async fn balance(&self, of: &str, now: i64) -> Balance {
        let of = &company(of);
        self.db
            .run_tx("test", |tx| async move { super::balance(&tx, of, at(now)).await })
            .await
            .unwrap()
    }

    /// Monthly, promotional, purchased, reserved.
    async fn figures(&self, of: &str, now: i64) -> [i64; 4] {
        let balance = self.balance(of, now).await;
        [
            balance.monthly,
            balance.promotional,
            balance.purchased,
            balance.reserved,
        ]
    }

    /// What contradicts itself, in the token tables or in the ledger.
    async fn faults(&self) -> Vec<String> {
        let run = |tx| async move {
            let mut faults = super::faults(&tx).await?;
            faults.extend(crate::db::ledger::faults(&tx).await?);
            Ok::<_, DbError>(faults)
        };
        self.db.run_tx("test", run).await.unwrap()
    }

    async fn count(&self, sql: &str) -> i64 {
        self.test.admin().await.query_one(sql, &[]).await.unwrap().get(0)
    }
}

fn refusal(result: Result<Record, TokenError>) -> (TokenRefusal, Option<String>) {
    match result {
        Err(TokenError::Refused { refusal, field, .. }) => (refusal, field),
        other => panic!("{other:?}"),
    }
}
