-- token_next_due: works out anew when the next thing of a company falls due, and keeps it in its row.
--
-- Arguments: p_company_id.
-- Returns the instant, or null. Raises nothing.
-- The earliest of: end of a held reservation, expiry of an open bucket, start of the next period. Called by whatever
--   adds one of them; what ends one may leave the instant too early, which costs one look.
-- Locks: the company is locked by the caller. Callers: functions/token_*.sql only.

create or replace function tollgate.token_next_due(p_company_id text)
returns timestamptz
language sql
volatile
set search_path = pg_catalog, tollgate, pg_temp
as $$
    update tollgate.company_subscriptions as company
    set next_due_at = least(
        company.next_period_at,
        (select min(reservation.expires_at) from tollgate.token_reservations as reservation
         where reservation.company_id = company.company_id and reservation.state = 'held'),
        (select min(bucket.expires_at) from tollgate.token_buckets as bucket
         where bucket.company_id = company.company_id and bucket.state = 'open'))
    where company.company_id = p_company_id
    returning company.next_due_at
$$;
