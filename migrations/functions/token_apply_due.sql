-- token_apply_due: applies to a company, in the order of time, everything that has fallen due.
--
-- Arguments: p_company_id, p_now.
-- Returns the number of things applied. Raises nothing of its own.
-- At one instant: reservations end first (what they give back can still be carried over), then a period begins, then
--   buckets expire. Each movement is dated at the instant it fell due and recorded at p_now, so that the
--   books read the same whether this runs on the minute or a month late.
-- Every call of the company comes through here, so it must end well within a statement's time however much is due: holds
--   end many at a time (token_end_holds), and what is due is asked for once a period, not once a thing. A
--   thousand updates of one row in one transaction leave a thousand versions that each next one reads past.
-- Locks: the company is locked by the caller.
-- Callers: functions/token_company_lock.sql, deduct_tokens_atomic.sql, deduct_tokens_batch.sql, token_expire_due.sql.

create or replace function tollgate.token_apply_due(p_company_id text, p_now timestamptz)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    v_applied integer := 0;
    v_period_at timestamptz;
    v_hold_at timestamptz;
    v_bucket record;
begin
    loop
        select company.next_period_at into v_period_at
        from tollgate.company_subscriptions as company
        where company.company_id = p_company_id and company.next_period_at <= p_now;
        select min(reservation.expires_at) into v_hold_at
        from tollgate.token_reservations as reservation
        where reservation.company_id = p_company_id and reservation.state = 'held';

        -- Buckets that end at the very instant of the period wait for it: it carries their rest over first.
        for v_bucket in
            select bucket.id, bucket.expires_at
            from tollgate.token_buckets as bucket
            where bucket.company_id = p_company_id and bucket.state = 'open'
                and bucket.expires_at <= p_now and (v_period_at is null or bucket.expires_at < v_period_at)
            order by bucket.expires_at, bucket.id
        loop
            if v_hold_at <= v_bucket.expires_at then
                v_applied := v_applied + tollgate.token_end_holds(p_company_id, v_bucket.expires_at, p_now);
                select min(reservation.expires_at) into v_hold_at
                from tollgate.token_reservations as reservation
                where reservation.company_id = p_company_id and reservation.state = 'held';
            end if;
            perform tollgate.token_expire_bucket(p_company_id, v_bucket.id, v_bucket.expires_at, p_now);
            v_applied := v_applied + 1;
        end loop;
        if v_hold_at <= coalesce(v_period_at, p_now) then
            v_applied := v_applied + tollgate.token_end_holds(p_company_id, coalesce(v_period_at, p_now), p_now);
        end if;

        exit when v_period_at is null;
        perform tollgate.token_begin_period(p_company_id, p_now);
        v_applied := v_applied + 1;
    end loop;
    perform tollgate.token_next_due(p_company_id);
    return v_applied;
end
$$;
