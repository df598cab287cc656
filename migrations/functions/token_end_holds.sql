-- token_end_holds: ends by themselves all reservations of a company whose time is over by an instant, at once.
--
-- Arguments: p_company_id; p_until, the instant; p_now, when it is recorded.
-- Returns the number of reservations that ended. Raises nothing of its own.
-- Each ends at its own expires_at. What it holds goes back to its buckets; what goes back into one that has expired
--   expires, what goes back into one that was revoked is taken back, by an entry for each kind and instant. Its record stays
--   pending for reconciliation to decide (TB-8).
-- One statement for all, and one update a bucket: see token_apply_due. Ending one by a decision is token_end_hold.
-- Locks: the company is locked by the caller. Callers: functions/token_apply_due.sql only.

create or replace function tollgate.token_end_holds(p_company_id text, p_until timestamptz, p_now timestamptz)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, tollgate, pg_temp
set enable_seqscan = off
as $$
declare
    v_ended integer;
    v_instants timestamptz[];
    v_kinds text[];
    v_amounts bigint[];
    v_id uuid;
    v_kind text;
begin
    with ended as (
        update tollgate.token_reservations as reservation
        set state = 'expired', ended_at = reservation.expires_at
        where reservation.company_id = p_company_id and reservation.state = 'held' and reservation.expires_at <= p_until
        returning reservation.expires_at, reservation.bucket_ids, reservation.bucket_amounts
    ),
    share as (
        select ended.expires_at, held.id, held.amount
        from ended
        cross join lateral unnest(ended.bucket_ids, ended.bucket_amounts) as held (id, amount)
    ),
    bucket_after as (
        update tollgate.token_buckets as bucket
        set reserved = bucket.reserved - held.amount,
            remaining = bucket.remaining - case when bucket.state in ('expired', 'revoked') then held.amount else 0 end,
            updated_at = p_now
        from (select share.id, sum(share.amount)::bigint as amount from share group by share.id) as held
        where bucket.company_id = p_company_id and bucket.id = held.id
        returning bucket.id, bucket.state, bucket.kind
    ),
    company_after as (
        update tollgate.company_subscriptions as company
        set reserved_balance = company.reserved_balance - (select coalesce(sum(share.amount), 0) from share),
            updated_at = p_now
        where company.company_id = p_company_id
    ),
    late as (
        select share.expires_at, bucket_after.kind, sum(share.amount)::bigint as amount
        from share
        join bucket_after on bucket_after.id = share.id
        where bucket_after.state in ('expired', 'revoked')
        group by share.expires_at, bucket_after.kind
    )
    select (select count(*) from ended), array_agg(late.expires_at order by late.expires_at, late.kind),
        array_agg(late.kind order by late.expires_at, late.kind), array_agg(late.amount order by late.expires_at, late.kind)
    into v_ended, v_instants, v_kinds, v_amounts
    from late;

    for i in 1..coalesce(cardinality(v_instants), 0) loop
        v_id := tollgate.token_new_id(p_now);
        -- Purchased tokens never expire, so a purchased bucket that keeps nothing was revoked; only such a one is.
        v_kind := case when v_kinds[i] = 'purchased' then 'token_revoke' else 'token_expire' end;
        perform tollgate.token_book(
            p_company_id, v_id, v_kind || ':' || p_company_id || ':' || v_id, v_kind,
            case when v_kind = 'token_revoke' then 'token_issued' else 'token_expired' end,
            case when v_kinds[i] = 'monthly' then -v_amounts[i] else 0 end,
            case when v_kinds[i] = 'promotional' then -v_amounts[i] else 0 end,
            case when v_kinds[i] = 'purchased' then -v_amounts[i] else 0 end,
            v_instants[i], p_now);
    end loop;
    return v_ended;
end
$$;
