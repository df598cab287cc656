-- token_pick: which buckets of a company an amount would come from, in spending order.
--
-- Arguments: p_company_id; p_amount, tokens.
-- Returns one row: ids and shares of the buckets, the sums by kind, and the company's spendable balance. Where that is
--   less than p_amount the shares sum to the balance, and the caller refuses.
-- Raises nothing. The same order as in deduct_tokens_batch: by priority, then earliest expiry, then oldest; purchased last.
-- Locks: the company is locked by the caller. Callers: functions/token_reserve.sql, token_settle.sql.

create or replace function tollgate.token_pick(
    p_company_id text,
    p_amount bigint,
    out bucket_ids uuid[],
    out amounts bigint[],
    out monthly bigint,
    out promotional bigint,
    out purchased bigint,
    out balance bigint
)
language sql
stable
set search_path = pg_catalog, tollgate, pg_temp
as $$
    select
        coalesce(array_agg(share.id order by share.nth) filter (where share.amount > 0), '{}'),
        coalesce(array_agg(share.amount order by share.nth) filter (where share.amount > 0), '{}'),
        coalesce(sum(share.amount) filter (where share.kind = 'monthly'), 0)::bigint,
        coalesce(sum(share.amount) filter (where share.kind = 'promotional'), 0)::bigint,
        coalesce(sum(share.amount) filter (where share.kind = 'purchased'), 0)::bigint,
        coalesce(max(share.upto), 0)
    from (
        select bucket.id, bucket.kind, bucket.nth, bucket.upto,
            greatest(least(p_amount, bucket.upto) - (bucket.upto - bucket.available), 0) as amount
        from (
            select open.id, open.kind, open.remaining - open.reserved as available,
                (sum(open.remaining - open.reserved) over spending)::bigint as upto,
                row_number() over spending as nth
            from tollgate.token_buckets as open
            where open.company_id = p_company_id and open.state = 'open' and open.remaining > open.reserved
            window spending as (
                order by open.kind = 'purchased', open.priority, open.expires_at, open.created_at, open.id
                rows unbounded preceding
            )
        ) as bucket
    ) as share
$$;
