-- token_compensate: takes a deduction back by a new entry, once.
--
-- Arguments
--   p_idempotency_key   of the deduction
--   p_company_id        whose it is
--   p_transaction_id    the id of the new ledger transaction (UUIDv7)
--   p_now               when it is recorded; what is due by then is applied first
-- Returns token_answer with status compensated. A repeat changes nothing and returns the same with idempotent = true.
-- Raises, in this order
--   TK001 an argument is missing
--   TK006 no record of this company has the key
--   TK009 the record is not completed, so there is nothing to take back
-- Each share goes back into the bucket it came from, which opens again if it was spent. The share of a bucket that has
--   expired goes where the plan says (company_subscriptions.expired_share_days): it expires at once by an entry of its own,
--   or becomes a promotional bucket of that many days. The share of a bucket that was revoked (token_revoke_grant) is taken back
--   by an entry of its own: its money was paid back.
-- Locks the company. Callers: tollgate_app, through `origin::db::tokens`.

create or replace function tollgate.token_compensate(
    p_idempotency_key text,
    p_company_id text,
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
    v_record record;
    v_share record;
    v_days integer;
    v_late_monthly bigint;
    v_late_promotional bigint;
    v_late bigint;
    v_revoked bigint;
    v_key text := 'token_compensate:' || p_company_id || ':' || p_idempotency_key;
    v_id uuid := tollgate.token_new_id(p_now);
begin
    if num_nulls(p_idempotency_key, p_company_id, p_transaction_id, p_now) > 0 then
        raise exception using errcode = 'TK001', message = 'tokens: malformed compensation';
    end if;
    perform tollgate.token_company_lock(p_company_id, p_now);
    select first.id, first.status, first.amount, first.article_id, first.metadata, first.bucket_ids, first.bucket_amounts,
        first.taken_monthly, first.taken_promotional, first.taken_purchased
    into v_record
    from tollgate.token_deduction_records as first
    where first.idempotency_key = p_idempotency_key and first.company_id = p_company_id;
    if not found then
        raise exception using errcode = 'TK006', message = 'tokens: no record has this key';
    elsif v_record.status = 'compensated' then
        return tollgate.token_answer(v_record.id, true);
    elsif v_record.status <> 'completed' then
        raise exception using errcode = 'TK009', message = 'tokens: nothing was deducted under this key',
            detail = format('The record is %s.', v_record.status);
    end if;

    select company.expired_share_days into v_days
    from tollgate.company_subscriptions as company
    where company.company_id = p_company_id;
    select coalesce(sum(share.amount) filter (where bucket.kind = 'monthly'), 0)::bigint,
        coalesce(sum(share.amount) filter (where bucket.kind = 'promotional'), 0)::bigint,
        coalesce(sum(share.amount) filter (where bucket.state = 'revoked'), 0)::bigint
    into v_late_monthly, v_late_promotional, v_revoked
    from unnest(v_record.bucket_ids, v_record.bucket_amounts) as share (id, amount)
    join tollgate.token_buckets as bucket on bucket.company_id = p_company_id and bucket.id = share.id
    where bucket.expires_at <= p_now or bucket.state = 'revoked';
    v_late := v_late_monthly + v_late_promotional;

    update tollgate.token_buckets as bucket
    set remaining = bucket.remaining + share.amount, state = 'open', updated_at = p_now
    from unnest(v_record.bucket_ids, v_record.bucket_amounts) as share (id, amount)
    where bucket.company_id = p_company_id and bucket.id = share.id
        and (bucket.expires_at is null or bucket.expires_at > p_now) and bucket.state <> 'revoked';

    if v_late > 0 and v_days > 0 then
        insert into tollgate.token_buckets
            (company_id, id, kind, granted, remaining, expires_at, grant_key, created_at, updated_at)
        values
            (p_company_id, p_transaction_id, 'promotional', v_late, v_late, p_now + make_interval(days => v_days), v_key,
             p_now, p_now);
        perform tollgate.token_book(
            p_company_id, p_transaction_id, v_key, 'token_compensate', 'token_used',
            v_record.taken_monthly - v_late_monthly,
            v_record.taken_promotional - v_late_promotional + v_late,
            v_record.taken_purchased, p_now, p_now);
    else
        perform tollgate.token_book(
            p_company_id, p_transaction_id, v_key, 'token_compensate', 'token_used',
            v_record.taken_monthly, v_record.taken_promotional, v_record.taken_purchased, p_now, p_now);
        if v_late > 0 then
            perform tollgate.token_book(
                p_company_id, v_id, 'token_expire:' || p_company_id || ':' || v_id, 'token_expire', 'token_expired',
                -v_late_monthly, -v_late_promotional, 0, p_now, p_now);
        end if;
    end if;
    if v_revoked > 0 then
        v_id := tollgate.token_new_id(p_now);
        perform tollgate.token_book(
            p_company_id, v_id, 'token_revoke:' || p_company_id || ':' || v_id, 'token_revoke', 'token_issued',
            0, 0, -v_revoked, p_now, p_now);
    end if;

    update tollgate.token_deduction_records as record
    set status = 'compensated', compensated_at = p_now
    where record.id = v_record.id;
    insert into tollgate.token_usage_logs
        (deduction_record_id, usage_type, company_id, article_id, token_amount, metadata, created_at)
    values
        (v_record.id, 'compensation', p_company_id, v_record.article_id, -v_record.amount, v_record.metadata, p_now);
    perform tollgate.token_next_due(p_company_id);
    return tollgate.token_answer(v_record.id, false);
end
$$;
