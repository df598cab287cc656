-- token_apply_due: applies to a company, in the order of time, everything that has fallen due.
--
-- Arguments: p_company_id, p_now.
-- Returns the number of things applied. Raises nothing of its own.
-- At one instant: reservations end first (what they give back can still be carried over), then a period begins, then
--   buckets expire. Each movement is dated at the instant it fell due and recorded at p_now, so that the
--   books read the same whether this runs on the minute or a month late.
-- Locks: the company is locked by the caller.
-- Callers: functions/token_company_lock.sql, deduct_tokens_batch.sql, token_expire_due.sql.

create or replace function tollgate.token_apply_due(p_company_id text, p_now timestamptz)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    v_applied integer := 0;
    v_due record;
begin
    loop
        select due.at, due.what, due.id into v_due
        from (
            select reservation.expires_at as at, 1 as what, reservation.record_id as id
            from tollgate.token_reservations as reservation
            where reservation.company_id = p_company_id and reservation.state = 'held'
            union all
            select company.next_period_at, 2, null
            from tollgate.company_subscriptions as company
            where company.company_id = p_company_id and company.next_period_at is not null
            union all
            select bucket.expires_at, 3, bucket.id
            from tollgate.token_buckets as bucket
            where bucket.company_id = p_company_id and bucket.state = 'open' and bucket.expires_at is not null
        ) as due
        where due.at <= p_now
        order by due.at, due.what, due.id
        limit 1;
        exit when not found;

        case v_due.what
            when 1 then perform tollgate.token_end_hold(p_company_id, v_due.id, 'expired', 0, v_due.at, p_now);
            when 2 then perform tollgate.token_begin_period(p_company_id, p_now);
            when 3 then perform tollgate.token_expire_bucket(p_company_id, v_due.id, v_due.at, p_now);
        end case;
        v_applied := v_applied + 1;
    end loop;
    perform tollgate.token_next_due(p_company_id);
    return v_applied;
end
$$;
