-- deduct_tokens_atomic: one deduction, once per idempotency key (TB-3).
--
-- Arguments
--   p_idempotency_key   1 to 160 visible ASCII, unique over all companies
--   p_company_id        whose tokens
--   p_article_id        what they are spent on, 1 to 128 visible ASCII
--   p_amount            tokens, from 1 to 10^15
--   p_metadata          null or an object; kept, not compared with that of a repeat
--   p_record_id         the id that a new record and its ledger transaction get (UUIDv7)
--   p_now               when it is recorded; the function reads no clock. What is due by then is applied first
-- Returns a JSON object: success, idempotent (the key had its result before), record_id, status, balance_before,
--   balance_after (what can be spent: reservations are not in it), taken_monthly, taken_promotional, taken_purchased,
--   error_code and error_field as deduct_tokens_batch lists them.
-- Raises
--   TK001 p_record_id or p_now is missing
--   40001 the key was used by another company at the same moment: run it again
-- A twin of the key that is under way in another single call, not yet committed, is answered at once with
--   DeductionInProgress: the advisory lock below belongs to the key until the transaction ends. That lock only makes the
--   answer early. What prevents a second charge is the company's row lock with the unique key, and a twin that runs
--   in a batch, which takes no such lock, is waited for and then replayed.
-- Locks the key (advisory), then the company, then buckets and accounts, which nobody touches without the company's lock.
-- The rules are those of deduct_tokens_batch, written a second time: its one large statement costs a millisecond to set
--   up, which a thousand requests share and one would pay alone. A property test holds the two to the same answers.
-- Callers: tollgate_app, through `origin::db::tokens`.

create or replace function tollgate.deduct_tokens_atomic(
    p_idempotency_key text,
    p_company_id text,
    p_article_id text,
    p_amount bigint,
    p_metadata jsonb,
    p_record_id uuid,
    p_now timestamptz
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, tollgate, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_owner text := 'company:' || p_company_id;
    v_error text;
    v_field text;
    v_first record;
    v_bucket record;
    v_balance bigint;
    v_next_due_at timestamptz;
    v_left bigint := p_amount;
    v_part bigint;
    v_ids uuid[] := '{}';
    v_parts bigint[] := '{}';
    v_taken bigint[] := array[0, 0, 0];
    v_kinds constant text[] := array['monthly', 'promotional', 'purchased'];
    v_kind integer;
begin
    if num_nulls(p_record_id, p_now) > 0 then
        raise exception using errcode = 'TK001', message = 'tokens: malformed deduction';
    end if;
    v_field := case
        when p_idempotency_key is null or octet_length(p_idempotency_key) not between 1 and 160
            or p_idempotency_key ~ '[^!-~]' then 'idempotency_key'
        when p_company_id is null then 'company_id'
        when p_article_id is null or octet_length(p_article_id) not between 1 and 128 or p_article_id ~ '[^!-~]' then 'article_id'
        when p_amount is null or p_amount not between 1 and 1000000000000000 then 'amount'
        when jsonb_typeof(p_metadata) <> 'object' then 'metadata'
    end;
    if v_field is not null then
        v_error := 'InvalidRequest';
    elsif not pg_try_advisory_xact_lock(hashtextextended(p_idempotency_key, 0)) then
        v_error := 'DeductionInProgress';
    end if;

    if v_error is null then
        select company.monthly_balance + company.promotional_balance + company.purchased_balance - company.reserved_balance,
            company.next_due_at
        into v_balance, v_next_due_at
        from tollgate.company_subscriptions as company
        where company.company_id = p_company_id
        for update;
        if not found then
            v_error := 'CompanyNotFound';
        elsif v_next_due_at <= p_now then
            perform tollgate.token_apply_due(p_company_id, p_now);
            select company.monthly_balance + company.promotional_balance + company.purchased_balance - company.reserved_balance
            into v_balance
            from tollgate.company_subscriptions as company
            where company.company_id = p_company_id;
        end if;
    end if;

    if v_error is null then
        select first.id, first.status, first.balance_before, first.balance_after, first.taken_monthly,
            first.taken_promotional, first.taken_purchased, split_part(first.error_message, ':', 1) as error_code,
            case
                when first.company_id <> p_company_id then 'company_id'
                when first.article_id <> p_article_id then 'article_id'
                when first.requested_amount <> p_amount then 'amount'
            end as differing
        into v_first
        from tollgate.token_deduction_records as first
        where first.idempotency_key = p_idempotency_key;
        if found and v_first.differing is null then
            return jsonb_build_object(
                'success', v_first.status in ('completed', 'compensated'), 'idempotent', v_first.status <> 'pending',
                'record_id', v_first.id, 'status', v_first.status,
                'balance_before', v_first.balance_before, 'balance_after', v_first.balance_after,
                'taken_monthly', v_first.taken_monthly, 'taken_promotional', v_first.taken_promotional,
                'taken_purchased', v_first.taken_purchased,
                'error_code', case when v_first.status = 'pending' then 'DeductionInProgress' else v_first.error_code end,
                'error_field', null);
        elsif found then
            v_error := 'IdempotencyKeyReused';
            v_field := v_first.differing;
        end if;
    end if;

    if v_error is not null then
        return jsonb_build_object(
            'success', false, 'idempotent', false, 'record_id', null, 'status', null,
            'balance_before', null, 'balance_after', null,
            'taken_monthly', 0, 'taken_promotional', 0, 'taken_purchased', 0,
            'error_code', v_error, 'error_field', v_field);
    end if;

    -- After this point the request is decided and recorded under its key.
    if v_balance < p_amount then
        insert into tollgate.token_deduction_records
            (id, idempotency_key, company_id, article_id, amount, requested_amount, status, balance_before, balance_after,
             error_message, created_at, completed_at, metadata)
        values
            (p_record_id, p_idempotency_key, p_company_id, p_article_id, p_amount, p_amount, 'failed', v_balance, v_balance,
             'InsufficientBalance', p_now, p_now, p_metadata)
        on conflict (idempotency_key) do nothing;
        if not found then
            raise exception using errcode = '40001', message = 'tokens: a key was used elsewhere at the same moment';
        end if;
        return jsonb_build_object(
            'success', false, 'idempotent', false, 'record_id', p_record_id, 'status', 'failed',
            'balance_before', v_balance, 'balance_after', v_balance,
            'taken_monthly', 0, 'taken_promotional', 0, 'taken_purchased', 0,
            'error_code', 'InsufficientBalance', 'error_field', null);
    end if;

    for v_bucket in
        select bucket.id, bucket.kind, bucket.remaining - bucket.reserved as available
        from tollgate.token_buckets as bucket
        where bucket.company_id = p_company_id and bucket.state = 'open' and bucket.remaining > bucket.reserved
        order by bucket.kind = 'purchased', bucket.priority, bucket.expires_at, bucket.created_at, bucket.id
    loop
        v_part := least(v_left, v_bucket.available);
        v_left := v_left - v_part;
        v_ids := v_ids || v_bucket.id;
        v_parts := v_parts || v_part;
        v_kind := array_position(v_kinds, v_bucket.kind);
        v_taken[v_kind] := v_taken[v_kind] + v_part;
        update tollgate.token_buckets as bucket
        set remaining = bucket.remaining - v_part,
            state = case when bucket.remaining = v_part then 'empty' else bucket.state end, updated_at = p_now
        where bucket.company_id = p_company_id and bucket.id = v_bucket.id;
        exit when v_left = 0;
    end loop;

    insert into tollgate.token_deduction_records
        (id, idempotency_key, company_id, article_id, amount, requested_amount, status, balance_before, balance_after,
         taken_monthly, taken_promotional, taken_purchased, bucket_ids, bucket_amounts, created_at, completed_at, metadata)
    values
        (p_record_id, p_idempotency_key, p_company_id, p_article_id, p_amount, p_amount, 'completed', v_balance,
         v_balance - p_amount, v_taken[1], v_taken[2], v_taken[3], v_ids, v_parts, p_now, p_now, p_metadata)
    on conflict (idempotency_key) do nothing;
    if not found then
        raise exception using errcode = '40001', message = 'tokens: a key was used elsewhere at the same moment';
    end if;
    insert into tollgate.token_usage_logs
        (deduction_record_id, usage_type, company_id, article_id, token_amount, metadata, created_at)
    values
        (p_record_id, 'deduction', p_company_id, p_article_id, p_amount, p_metadata, p_now);
    update tollgate.company_subscriptions as company
    set monthly_balance = company.monthly_balance - v_taken[1],
        promotional_balance = company.promotional_balance - v_taken[2],
        purchased_balance = company.purchased_balance - v_taken[3],
        updated_at = p_now
    where company.company_id = p_company_id;
    insert into tollgate.ledger_transaction (id, owner, operation_key, kind, fingerprint, occurred_at, recorded_at)
    values
        (p_record_id, v_owner, 'token:' || p_company_id || ':' || p_idempotency_key, 'token_deduct',
         -- The parts hold no line break.
         sha256(convert_to(concat_ws(E'\n', 'token 1', p_company_id, p_idempotency_key, p_article_id, p_amount), 'UTF8')),
         p_now, p_now);
    with account as (
        update tollgate.ledger_account as account
        set balance = account.balance + leg.amount, version = account.version + 1, updated_at = p_now
        from (values
            ('token_used', p_amount),
            ('token_monthly', -v_taken[1]),
            ('token_promotional', -v_taken[2]),
            ('token_purchased', -v_taken[3])
        ) as leg (kind, amount)
        where account.owner = v_owner and account.unit = 'TOKEN'
            and account.kind in ('token_used', 'token_monthly', 'token_promotional', 'token_purchased')
            and account.kind = leg.kind and leg.amount <> 0
        returning account.kind, account.version, account.balance, leg.amount
    )
    insert into tollgate.ledger_entry (owner, account_kind, unit, account_version, transaction_id, amount, balance_after)
    select v_owner, account.kind, 'TOKEN', account.version, p_record_id, account.amount, account.balance
    from account;

    return jsonb_build_object(
        'success', true, 'idempotent', false, 'record_id', p_record_id, 'status', 'completed',
        'balance_before', v_balance, 'balance_after', v_balance - p_amount,
        'taken_monthly', v_taken[1], 'taken_promotional', v_taken[2], 'taken_purchased', v_taken[3],
        'error_code', null, 'error_field', null);
end
$$;
