-- token_begin_period: begins the period of a company that falls due: carries over, then grants the quota.
--
-- Arguments: p_company_id, p_now.
-- Returns nothing. Raises nothing of its own.
-- Carried over is what is unused in the monthly buckets that end now, rollover_max at most in all, into one bucket of
--   the new period; it stays in the account token_monthly, so there is no entry. The rest of those buckets expires right
--   after (token_apply_due), dated at the same instant. What was carried over before counts as unused again.
-- The quota is granted by an entry dated at the start of the period, whenever this runs, and once: where a plan was
--   set to another anchor and back, a period that begins at an instant at which one began before passes without a grant.
-- Locks: the company is locked by the caller. Callers: functions/token_apply_due.sql only.

create or replace function tollgate.token_begin_period(p_company_id text, p_now timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    v_begins_at timestamptz;
    v_ends_at timestamptz;
    v_anchor timestamptz;
    v_count integer;
    v_quota bigint;
    v_rollover_max bigint;
    v_left bigint;
    v_part bigint;
    v_id uuid := tollgate.token_new_id(p_now);
    v_period text;
    v_bucket record;
begin
    select company.next_period_at, company.period_anchor, company.period_count, company.monthly_quota, company.rollover_max
    into v_begins_at, v_anchor, v_count, v_quota, v_rollover_max
    from tollgate.company_subscriptions as company
    where company.company_id = p_company_id;
    v_ends_at := tollgate.token_period_start(v_anchor, v_count + 1);
    v_period := p_company_id || ':' || extract(epoch from v_begins_at)::bigint;

    if exists (select from tollgate.token_buckets as bucket where bucket.grant_key = 'token_quota:' || v_period) then
        update tollgate.company_subscriptions as company
        set period_count = v_count + 1, next_period_at = v_ends_at, updated_at = p_now
        where company.company_id = p_company_id;
        return;
    end if;

    v_left := v_rollover_max;
    for v_bucket in
        select bucket.id, bucket.remaining - bucket.reserved as unused
        from tollgate.token_buckets as bucket
        where bucket.company_id = p_company_id and bucket.state = 'open' and bucket.kind = 'monthly'
            and bucket.expires_at <= v_begins_at and bucket.remaining > bucket.reserved
        order by bucket.created_at desc, bucket.id desc
    loop
        v_part := least(v_left, v_bucket.unused);
        exit when v_part = 0;
        v_left := v_left - v_part;
        update tollgate.token_buckets as bucket
        set remaining = bucket.remaining - v_part, updated_at = p_now
        where bucket.company_id = p_company_id and bucket.id = v_bucket.id;
    end loop;
    if v_left < v_rollover_max then
        insert into tollgate.token_buckets
            (company_id, id, kind, granted, remaining, expires_at, grant_key, created_at, updated_at)
        values
            (p_company_id, tollgate.token_new_id(p_now), 'monthly', v_rollover_max - v_left, v_rollover_max - v_left,
             v_ends_at, 'token_carry:' || v_period, v_begins_at, p_now);
    end if;

    insert into tollgate.token_buckets
        (company_id, id, kind, granted, remaining, expires_at, grant_key, created_at, updated_at)
    values
        (p_company_id, v_id, 'monthly', v_quota, v_quota, v_ends_at, 'token_quota:' || v_period, v_begins_at, p_now);
    perform tollgate.token_book(
        p_company_id, v_id, 'token_quota:' || v_period, 'token_grant', 'token_issued', v_quota, 0, 0, v_begins_at, p_now);

    update tollgate.company_subscriptions as company
    set period_count = v_count + 1, next_period_at = v_ends_at, updated_at = p_now
    where company.company_id = p_company_id;
end
$$;
