-- token_grant: gives a company a bucket of tokens, once per key.
--
-- Arguments
--   p_idempotency_key   1 to 160 visible ASCII, unique over all companies (settle:<provider>:… of the payment that bought it)
--   p_company_id        opened if it is not there
--   p_kind              promotional | purchased, or monthly where a payment brings the quota instead of the plan
--   p_amount            tokens, 1 to 10^15
--   p_priority          lower is spent first among buckets that expire
--   p_expires_at        null for purchased tokens, which never expire, and only for them
--   p_bucket_id         the id that a new bucket and its ledger transaction get (UUIDv7)
--   p_now               when it is recorded
-- Returns a JSON object: idempotent, bucket_id, company_id, kind, amount.
-- Raises, in this order
--   TK001 an argument is missing or out of range, or the expiry does not fit the kind or is not in the future
--   TK003 the key granted something else; COLUMN names the first field that differs
--   23514 with the constraint's name where the company id breaks its shape
-- Locks the company, then the key (a twin is waited for, then replayed).
-- Callers: tollgate_app, through `origin::db::tokens`.

create or replace function tollgate.token_grant(
    p_idempotency_key text,
    p_company_id text,
    p_kind text,
    p_amount bigint,
    p_priority smallint,
    p_expires_at timestamptz,
    p_bucket_id uuid,
    p_now timestamptz
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    v_bucket_id uuid;
    v_field text;
    v_grant_key text := 'token_grant:' || p_idempotency_key;
begin
    if num_nulls(p_idempotency_key, p_company_id, p_kind, p_amount, p_priority, p_bucket_id, p_now) > 0
        or octet_length(p_idempotency_key) not between 1 and 160 or p_idempotency_key ~ '[^!-~]'
        or p_kind not in ('monthly', 'promotional', 'purchased') or p_amount not between 1 and 1000000000000000
        or (p_kind = 'purchased') <> (p_expires_at is null)
    then
        raise exception using errcode = 'TK001', message = 'tokens: malformed grant';
    end if;

    select bucket.id,
        case
            when bucket.company_id <> p_company_id then 'company_id'
            when bucket.kind <> p_kind then 'kind'
            when bucket.granted <> p_amount then 'amount'
            when bucket.priority <> p_priority then 'priority'
            when bucket.expires_at is distinct from p_expires_at then 'expires_at'
        end
    into v_bucket_id, v_field
    from tollgate.token_buckets as bucket
    where bucket.grant_key = v_grant_key;

    if v_bucket_id is null then
        if p_expires_at <= p_now then
            raise exception using errcode = 'TK001', message = 'tokens: malformed grant',
                detail = 'It would expire before it begins.';
        end if;
        perform tollgate.token_company_open(p_company_id, p_now);
        insert into tollgate.token_buckets
            (company_id, id, kind, priority, granted, remaining, expires_at, grant_key, created_at, updated_at)
        values
            (p_company_id, p_bucket_id, p_kind, p_priority, p_amount, p_amount, p_expires_at, v_grant_key, p_now, p_now)
        on conflict (grant_key) do nothing;
        if not found then
            -- A twin was faster; it has committed, so the next look finds its bucket.
            return tollgate.token_grant(
                p_idempotency_key, p_company_id, p_kind, p_amount, p_priority, p_expires_at, p_bucket_id, p_now);
        end if;
        perform tollgate.token_book(
            p_company_id, p_bucket_id, v_grant_key, 'token_grant', 'token_issued',
            case when p_kind = 'monthly' then p_amount else 0 end,
            case when p_kind = 'promotional' then p_amount else 0 end,
            case when p_kind = 'purchased' then p_amount else 0 end, p_now, p_now);
        perform tollgate.token_next_due(p_company_id);
    elsif v_field is not null then
        raise exception using errcode = 'TK003', column = v_field, message = 'tokens: the key was used for something else',
            detail = format('Key %s granted with another %s.', p_idempotency_key, v_field);
    end if;
    return jsonb_build_object(
        'idempotent', v_bucket_id is not null, 'bucket_id', coalesce(v_bucket_id, p_bucket_id), 'company_id', p_company_id,
        'kind', p_kind, 'amount', p_amount);
end
$$;
