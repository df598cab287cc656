-- token_settle: turns a reservation into a deduction of what the job really cost; the rest goes back.
--
-- Arguments
--   p_idempotency_key   of the reservation
--   p_company_id        whose it is
--   p_amount            tokens, from 1 to the reserved amount
--   p_now               when it is recorded; what is due by then is applied first
-- Returns token_answer. A repeat with the same amount changes nothing and returns the same with idempotent = true.
-- Raises, in this order
--   TK001 an argument is missing or the amount is below 1
--   TK006 no record of this company has the key
--   TK003 it is settled already with another amount, or was refused with one (COLUMN amount)
--   TK008 it is not a reservation, or was released or refused
--   TK007 more than was reserved
-- A reservation that has ended by itself is settled late, from what can be spent now, in spending order; if that is not
--   enough the record fails for good (error_code InsufficientBalance, a result, not an exception) for a person to see, and
--   a repeat gets that result again.
-- Locks the company. Callers: tollgate_app, through `origin::db::tokens`.

create or replace function tollgate.token_settle(
    p_idempotency_key text,
    p_company_id text,
    p_amount bigint,
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
    v_pick record;
    v_after bigint;
begin
    if num_nulls(p_idempotency_key, p_company_id, p_amount, p_now) > 0 or p_amount < 1 then
        raise exception using errcode = 'TK001', message = 'tokens: malformed settlement';
    end if;
    perform tollgate.token_company_lock(p_company_id, p_now);
    select first.id, first.status, first.amount, first.article_id, first.metadata,
        reservation.state, reservation.amount as reserved, reservation.bucket_ids
    into v_record
    from tollgate.token_deduction_records as first
    left join tollgate.token_reservations as reservation on reservation.record_id = first.id
    where first.idempotency_key = p_idempotency_key and first.company_id = p_company_id;
    if not found then
        raise exception using errcode = 'TK006', message = 'tokens: no record has this key';
    elsif v_record.state is not null and v_record.status in ('completed', 'compensated')
        -- Of failed records, a released one has a released reservation: this is a settlement that came late.
        or v_record.state = 'expired' and v_record.status = 'failed'
    then
        if v_record.amount <> p_amount then
            raise exception using errcode = 'TK003', column = 'amount', message = 'tokens: settled with another amount',
                detail = format('Settled with %s.', v_record.amount);
        end if;
        return tollgate.token_answer(v_record.id, true);
    elsif v_record.status <> 'pending' then
        raise exception using errcode = 'TK008', message = 'tokens: nothing is reserved under this key',
            detail = format('The record is %s.', v_record.status);
    elsif p_amount > v_record.reserved then
        raise exception using errcode = 'TK007', message = 'tokens: more than was reserved',
            detail = format('Reserved %s, to settle %s.', v_record.reserved, p_amount);
    end if;

    if v_record.state = 'held' then
        select array_agg(bucket.id order by share.n) as bucket_ids, array_agg(share.amount order by share.n) as amounts,
            coalesce(sum(share.amount) filter (where bucket.kind = 'monthly'), 0)::bigint as monthly,
            coalesce(sum(share.amount) filter (where bucket.kind = 'promotional'), 0)::bigint as promotional,
            coalesce(sum(share.amount) filter (where bucket.kind = 'purchased'), 0)::bigint as purchased
        into v_pick
        from unnest(v_record.bucket_ids,
                    tollgate.token_end_hold(p_company_id, v_record.id, 'settled', p_amount, p_now, p_now))
            with ordinality as share (id, amount, n)
        join tollgate.token_buckets as bucket on bucket.company_id = p_company_id and bucket.id = share.id
        where share.amount > 0;
    else
        select * into v_pick from tollgate.token_pick(p_company_id, p_amount);
        if v_pick.balance < p_amount then
            update tollgate.token_deduction_records as record
            set status = 'failed', error_message = 'InsufficientBalance', completed_at = p_now, amount = p_amount,
                balance_before = v_pick.balance, balance_after = v_pick.balance, retry_count = record.retry_count + 1
            where record.id = v_record.id;
            return tollgate.token_answer(v_record.id, false);
        end if;
        update tollgate.token_reservations as reservation
        set state = 'settled', ended_at = p_now
        where reservation.record_id = v_record.id;
        update tollgate.token_buckets as bucket
        set remaining = bucket.remaining - share.amount,
            state = case when bucket.remaining = share.amount then 'empty' else bucket.state end, updated_at = p_now
        from unnest(v_pick.bucket_ids, v_pick.amounts) as share (id, amount)
        where bucket.company_id = p_company_id and bucket.id = share.id;
    end if;

    perform tollgate.token_book(
        p_company_id, v_record.id, 'token:' || p_company_id || ':' || p_idempotency_key, 'token_settle', 'token_used',
        -v_pick.monthly, -v_pick.promotional, -v_pick.purchased, p_now, p_now);
    select company.monthly_balance + company.promotional_balance + company.purchased_balance - company.reserved_balance
    into v_after
    from tollgate.company_subscriptions as company
    where company.company_id = p_company_id;
    update tollgate.token_deduction_records as record
    set status = 'completed', completed_at = p_now, amount = p_amount,
        balance_before = v_after + p_amount, balance_after = v_after,
        taken_monthly = v_pick.monthly, taken_promotional = v_pick.promotional, taken_purchased = v_pick.purchased,
        bucket_ids = v_pick.bucket_ids, bucket_amounts = v_pick.amounts,
        retry_count = record.retry_count + case when v_record.state = 'held' then 0 else 1 end
    where record.id = v_record.id;
    insert into tollgate.token_usage_logs
        (deduction_record_id, usage_type, company_id, article_id, token_amount, metadata, created_at)
    values
        (v_record.id, 'settlement', p_company_id, v_record.article_id, p_amount, v_record.metadata, p_now);
    return tollgate.token_answer(v_record.id, false);
end
$$;
