//! Which company a user is in.
//!
//! http, jobs, `tollgate company` → **these calls** → `company_members`.
//!
//! Invariant: one company a user. Not here: what a user without a row is (`domain::jobs::own_company`).

use tollgate_shared::id::UserId;
use tollgate_shared::time::Timestamp;

use super::{DbError, Instant, Tx};
use crate::domain::jobs::own_company;
use crate::domain::tokens::CompanyId;

/// The company that a user was put into, else their own; `None` where the user's id cannot name one.
pub(crate) async fn company_of(tx: &Tx, user: &UserId) -> Result<Option<CompanyId>, DbError> {
    let sql = "select company_id from tollgate.company_members where user_id = $1";
    let Some(row) = tx.query_opt(sql, &[&user.as_str()]).await? else {
        return Ok(own_company(user));
    };
    let company = row.try_get::<_, String>("company_id")?.parse();
    company.map(Some).map_err(|_| DbError::Unreadable {
        column: "company_members.company_id",
    })
}

/// Puts a user into a company, and out of the one before.
pub(crate) async fn put(tx: &Tx, user: &UserId, company: &CompanyId, now: Timestamp) -> Result<(), DbError> {
    let sql = "insert into tollgate.company_members (user_id, company_id, created_at, updated_at) \
               values ($1, $2, $3, $3) \
               on conflict (user_id) do update set company_id = excluded.company_id, updated_at = excluded.updated_at";
    tx.execute(sql, &[&user.as_str(), &company.as_str(), &Instant(now)])
        .await?;
    Ok(())
}
