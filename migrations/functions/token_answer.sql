-- token_answer: a deduction record as the answer of the functions that make or change it.
--
-- Arguments: p_record_id; p_idempotent, what the answer says about this call.
-- Returns a JSON object as deduct_tokens_atomic's, with idempotency_key, company_id, article_id, amount, the instants
--   and, of a reservation, its state and end (reservation, reserved_amount, reservation_expires_at).
-- success is true for completed and compensated records, and for a pending one whose reservation is held.
-- Raises nothing. Takes no locks. Callers: functions/token_*.sql only.

create or replace function tollgate.token_answer(p_record_id uuid, p_idempotent boolean)
returns jsonb
language sql
stable
set search_path = pg_catalog, tollgate, pg_temp
as $$
    select jsonb_build_object(
        'success', record.status in ('completed', 'compensated')
            or (record.status = 'pending' and reservation.state = 'held'),
        'idempotent', p_idempotent,
        'record_id', record.id,
        'idempotency_key', record.idempotency_key,
        'company_id', record.company_id,
        'article_id', record.article_id,
        'amount', record.amount,
        'status', record.status,
        'balance_before', record.balance_before,
        'balance_after', record.balance_after,
        'taken_monthly', record.taken_monthly,
        'taken_promotional', record.taken_promotional,
        'taken_purchased', record.taken_purchased,
        'error_code', case when record.status = 'failed' then split_part(record.error_message, ':', 1) end,
        'error_field', null,
        'error_message', record.error_message,
        'retry_count', record.retry_count,
        'created_at_ms', (extract(epoch from record.created_at) * 1000)::bigint,
        'completed_at_ms', (extract(epoch from record.completed_at) * 1000)::bigint,
        'compensated_at_ms', (extract(epoch from record.compensated_at) * 1000)::bigint,
        'reservation', reservation.state,
        'reserved_amount', reservation.amount,
        'reservation_expires_at_ms', (extract(epoch from reservation.expires_at) * 1000)::bigint,
        'metadata', record.metadata)
    from tollgate.token_deduction_records as record
    left join tollgate.token_reservations as reservation on reservation.record_id = record.id
    where record.id = p_record_id
$$;
