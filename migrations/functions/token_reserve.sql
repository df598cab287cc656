-- token_reserve: holds tokens for a job whose cost is known only afterwards.
--
-- Arguments
--   p_idempotency_key, p_company_id, p_article_id, p_amount, p_metadata   as deduct_tokens_atomic
--   p_expires_at   when the hold ends by itself, within seven days of p_now; not compared with that of a repeat
--   p_record_id    the id that a new record gets (UUIDv7)
--   p_now          when it is recorded; what is due by then is applied first
-- Returns token_answer: a pending record, or, for lack of balance, a failed one (error_code InsufficientBalance), which
--   is final for its key. A repeat changes nothing and returns the record as it is now, with idempotent = true.
-- Raises, in this order
--   TK001 an argument is missing or out of range
--   TK002 nothing was ever granted to the company
--   TK003 the key was used with another company, article or amount; COLUMN names the first
--   40001 the key was used by another company at the same moment
-- Held tokens stay in their buckets and in the ledger's balances, and cannot be spent by anything else.
-- Locks the company. Callers: tollgate_app, through `origin::db::tokens`.

create or replace function tollgate.token_reserve(
    p_idempotency_key text,
    p_company_id text,
    p_article_id text,
    p_amount bigint,
    p_metadata jsonb,
    p_expires_at timestamptz,
    p_record_id uuid,
    p_now timestamptz
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    v_record_id uuid;
    v_field text;
    v_pick record;
    v_is_enough boolean;
begin
    if num_nulls(p_idempotency_key, p_company_id, p_article_id, p_amount, p_expires_at, p_record_id, p_now) > 0
        or octet_length(p_idempotency_key) not between 1 and 160 or p_idempotency_key ~ '[^!-~]'
        or octet_length(p_article_id) not between 1 and 128 or p_article_id ~ '[^!-~]'
        or p_amount not between 1 and 1000000000000000 or jsonb_typeof(p_metadata) <> 'object'
        or p_expires_at <= p_now or p_expires_at > p_now + interval '7 days'
    then
        raise exception using errcode = 'TK001', message = 'tokens: malformed reservation';
    end if;
    if not tollgate.token_company_lock(p_company_id, p_now) then
        raise exception using errcode = 'TK002', message = 'tokens: the company has never had tokens';
    end if;

    select first.id,
        case
            when first.company_id <> p_company_id then 'company_id'
            when first.article_id <> p_article_id then 'article_id'
            when first.requested_amount <> p_amount then 'amount'
        end
    into v_record_id, v_field
    from tollgate.token_deduction_records as first
    where first.idempotency_key = p_idempotency_key;
    if v_field is not null then
        raise exception using errcode = 'TK003', column = v_field, message = 'tokens: the key was used for something else',
            detail = format('Key %s was used with another %s.', p_idempotency_key, v_field);
    elsif v_record_id is not null then
        return tollgate.token_answer(v_record_id, true);
    end if;

    select * into v_pick from tollgate.token_pick(p_company_id, p_amount);
    v_is_enough := v_pick.balance >= p_amount;
    insert into tollgate.token_deduction_records
        (id, idempotency_key, company_id, article_id, amount, requested_amount, status, balance_before, balance_after,
         error_message, created_at, completed_at, metadata)
    values
        (p_record_id, p_idempotency_key, p_company_id, p_article_id, p_amount, p_amount,
         case when v_is_enough then 'pending' else 'failed' end, v_pick.balance,
         case when v_is_enough then v_pick.balance - p_amount else v_pick.balance end,
         case when not v_is_enough then 'InsufficientBalance' end, p_now, case when not v_is_enough then p_now end, p_metadata)
    on conflict (idempotency_key) do nothing;
    if not found then
        raise exception using errcode = '40001', message = 'tokens: a key was used elsewhere at the same moment';
    end if;

    if v_is_enough then
        insert into tollgate.token_reservations
            (record_id, company_id, amount, expires_at, bucket_ids, bucket_amounts, created_at)
        values
            (p_record_id, p_company_id, p_amount, p_expires_at, v_pick.bucket_ids, v_pick.amounts, p_now);
        update tollgate.token_buckets as bucket
        set reserved = bucket.reserved + share.amount, updated_at = p_now
        from unnest(v_pick.bucket_ids, v_pick.amounts) as share (id, amount)
        where bucket.company_id = p_company_id and bucket.id = share.id;
        update tollgate.company_subscriptions as company
        set reserved_balance = company.reserved_balance + p_amount,
            next_due_at = least(company.next_due_at, p_expires_at), updated_at = p_now
        where company.company_id = p_company_id;
    end if;
    return tollgate.token_answer(p_record_id, false);
end
$$;
