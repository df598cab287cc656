-- token_release: gives back what a reservation holds; its record fails for good.
--
-- Arguments
--   p_idempotency_key   of the reservation
--   p_company_id        whose it is
--   p_reason            for people, up to 200 characters, kept in the record; null: none given
--   p_now               when it is recorded; what is due by then is applied first
-- Returns token_answer with status failed and error_code Released. A repeat returns the same with idempotent = true.
-- Raises, in this order
--   TK001 an argument is missing, or the reason is too long
--   TK006 no record of this company has the key
--   TK008 it is not a reservation, or was settled or refused
-- Locks the company. Callers: tollgate_app, through `origin::db::tokens`.

create or replace function tollgate.token_release(
    p_idempotency_key text,
    p_company_id text,
    p_reason text,
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
begin
    if num_nulls(p_idempotency_key, p_company_id, p_now) > 0 or char_length(p_reason) > 200 then
        raise exception using errcode = 'TK001', message = 'tokens: malformed release';
    end if;
    perform tollgate.token_company_lock(p_company_id, p_now);
    select first.id, first.status, reservation.state
    into v_record
    from tollgate.token_deduction_records as first
    left join tollgate.token_reservations as reservation on reservation.record_id = first.id
    where first.idempotency_key = p_idempotency_key and first.company_id = p_company_id;
    if not found then
        raise exception using errcode = 'TK006', message = 'tokens: no record has this key';
    elsif v_record.status = 'failed' and v_record.state = 'released' then
        return tollgate.token_answer(v_record.id, true);
    elsif v_record.status <> 'pending' then
        raise exception using errcode = 'TK008', message = 'tokens: nothing is reserved under this key',
            detail = format('The record is %s.', v_record.status);
    end if;

    if v_record.state = 'held' then
        perform tollgate.token_end_hold(p_company_id, v_record.id, 'released', 0, p_now, p_now);
    else
        update tollgate.token_reservations as reservation
        set state = 'released', ended_at = p_now
        where reservation.record_id = v_record.id;
    end if;
    update tollgate.token_deduction_records as record
    set status = 'failed', error_message = concat_ws(': ', 'Released', p_reason), completed_at = p_now,
        balance_after = record.balance_before
    where record.id = v_record.id;
    return tollgate.token_answer(v_record.id, false);
end
$$;
