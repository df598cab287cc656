-- token_record_by_key: the record that an idempotency key belongs to.
--
-- Arguments: p_idempotency_key, p_company_id; null where the key belongs to another company, or to none.
-- Returns token_answer, or null. Raises nothing. Takes no locks.
-- Callers: tollgate_app, through `origin::db::tokens`.

create or replace function tollgate.token_record_by_key(p_idempotency_key text, p_company_id text)
returns jsonb
language sql
stable
security definer
set search_path = pg_catalog, tollgate, pg_temp
as $$
    select tollgate.token_answer(record.id, true)
    from tollgate.token_deduction_records as record
    where record.idempotency_key = p_idempotency_key and record.company_id = p_company_id
$$;
