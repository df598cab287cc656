-- token_expire_bucket: takes out of a bucket past its time whatever no reservation holds.
--
-- Arguments: p_company_id, p_bucket_id, p_occurred_at (when it fell due), p_now.
-- Returns the tokens that expired, 0 if all that is left is reserved.
-- What a reservation holds stays until it is settled or returned, so a job that began before the end of the period is
--   paid from the tokens it was promised; what comes back from it expires here as well, by an entry of its own.
-- Raises nothing of its own. Locks: the company is locked by the caller. Callers: functions/token_*.sql only.

create or replace function tollgate.token_expire_bucket(
    p_company_id text,
    p_bucket_id uuid,
    p_occurred_at timestamptz,
    p_now timestamptz
)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    v_kind text;
    v_amount bigint;
    v_id uuid := tollgate.token_new_id(p_now);
begin
    select bucket.kind, bucket.remaining - bucket.reserved into v_kind, v_amount
    from tollgate.token_buckets as bucket
    where bucket.company_id = p_company_id and bucket.id = p_bucket_id;

    update tollgate.token_buckets as bucket
    set remaining = bucket.reserved, state = 'expired', updated_at = p_now
    where bucket.company_id = p_company_id and bucket.id = p_bucket_id;

    if v_amount > 0 then
        perform tollgate.token_book(
            p_company_id, v_id, 'token_expire:' || p_company_id || ':' || v_id, 'token_expire', 'token_expired',
            case when v_kind = 'monthly' then -v_amount else 0 end,
            case when v_kind = 'promotional' then -v_amount else 0 end,
            0, p_occurred_at, p_now);
    end if;
    return v_amount;
end
$$;
