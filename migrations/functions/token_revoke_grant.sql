-- token_revoke_grant: takes back what is left of tokens whose purchase was paid back, once per grant.
--
-- Arguments
--   p_idempotency_key   of the grant
--   p_transaction_id    the id of the new ledger transaction (UUIDv7)
--   p_now               when it is recorded; what is due by then is applied first
-- Returns a JSON object: idempotent, company_id, granted, revoked (tokens that this call, or the first, took back) and held
--   (tokens of it that reservations hold now); what is neither was spent. Null where no purchased grant has the key: nothing was
--   given, so there is nothing to take back. A repeat changes nothing.
-- Raises TK001 an argument is missing
-- The bucket ends as revoked and never opens again. What a reservation holds in it stays until that is settled or released, so
--   a job under way is paid from the tokens it was promised; what comes back from one (token_end_hold), or from a compensation
--   (token_compensate), is taken back there by an entry of its own. Other buckets are left alone: what was spent is a person's.
-- The grant names the company, not the caller: its buyer may be in another one by now.
-- Locks the company. Callers: tollgate_app, through `origin::db::tokens`.

create or replace function tollgate.token_revoke_grant(
    p_idempotency_key text,
    p_transaction_id uuid,
    p_now timestamptz
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    v_company_id text;
    v_bucket_id uuid;
    v_bucket record;
    v_revoked bigint;
    v_key text := 'token_revoke:' || p_idempotency_key;
begin
    if num_nulls(p_idempotency_key, p_transaction_id, p_now) > 0 then
        raise exception using errcode = 'TK001', message = 'tokens: malformed revocation';
    end if;
    -- Neither ever changes, so they may be read before the lock that they name.
    select bucket.company_id, bucket.id into v_company_id, v_bucket_id
    from tollgate.token_buckets as bucket
    where bucket.grant_key = 'token_grant:' || p_idempotency_key and bucket.kind = 'purchased';
    if not found then
        return null;
    end if;
    perform tollgate.token_company_lock(v_company_id, p_now);
    select bucket.state, bucket.granted, bucket.reserved, bucket.remaining - bucket.reserved as unspent
    into v_bucket
    from tollgate.token_buckets as bucket
    where bucket.company_id = v_company_id and bucket.id = v_bucket_id;

    if v_bucket.state = 'revoked' then
        select coalesce(sum(-entry.amount), 0)::bigint into v_revoked
        from tollgate.ledger_transaction as first
        join tollgate.ledger_entry as entry on entry.transaction_id = first.id and entry.account_kind = 'token_purchased'
        where first.operation_key = v_key;
    else
        v_revoked := v_bucket.unspent;
        update tollgate.token_buckets as bucket
        set remaining = bucket.reserved, state = 'revoked', updated_at = p_now
        where bucket.company_id = v_company_id and bucket.id = v_bucket_id;
        if v_revoked > 0 then
            perform tollgate.token_book(
                v_company_id, p_transaction_id, v_key, 'token_revoke', 'token_issued', 0, 0, -v_revoked, p_now, p_now);
        end if;
    end if;
    return jsonb_build_object(
        'idempotent', v_bucket.state = 'revoked', 'company_id', v_company_id, 'granted', v_bucket.granted,
        'revoked', v_revoked, 'held', v_bucket.reserved);
end
$$;
