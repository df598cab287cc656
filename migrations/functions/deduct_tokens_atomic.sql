-- deduct_tokens_atomic: one deduction, once per idempotency key (TB-3).
--
-- Arguments
--   p_idempotency_key   1 to 160 visible ASCII, unique over all companies
--   p_company_id        whose tokens
--   p_article_id        what they are spent on, 1 to 128 visible ASCII
--   p_amount            tokens, above zero
--   p_metadata          null or an object; kept, not compared with that of a repeat
--   p_record_id         the id that a new record gets (UUIDv7)
--   p_now               when it is recorded; the function reads no clock. What is due by then is applied first
-- Returns a JSON object: success, idempotent (the key had its result before), record_id, status, balance_before,
--   balance_after (what can be spent: reservations are not in it), taken_monthly, taken_promotional, taken_purchased,
--   error_code and error_field as deduct_tokens_batch lists them.
-- Raises what deduct_tokens_batch raises.
-- A twin of the key that is under way in another single call, not yet committed, is answered at once with
--   DeductionInProgress: the advisory lock below belongs to the key until the transaction ends. That lock only makes the
--   answer early. What prevents a second charge is the company's row lock with the unique key, and a twin that runs
--   in a batch, which takes no such lock, is waited for and then replayed.
-- Locks the key (advisory), then as deduct_tokens_batch. Callers: tollgate_app, through `origin::db::tokens`.

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
as $$
declare
    v_result jsonb;
begin
    if p_idempotency_key is not null and not pg_try_advisory_xact_lock(hashtextextended(p_idempotency_key, 0)) then
        return jsonb_build_object(
            'success', false, 'idempotent', false, 'record_id', null, 'status', null,
            'balance_before', null, 'balance_after', null,
            'taken_monthly', 0, 'taken_promotional', 0, 'taken_purchased', 0,
            'error_code', 'DeductionInProgress', 'error_field', null);
    end if;
    select to_jsonb(answer) - 'request' into v_result
    from tollgate.deduct_tokens_batch(
        array[p_idempotency_key], array[p_company_id], array[p_article_id], array[p_amount], array[p_metadata],
        array[p_record_id], p_now
    ) as answer;
    return v_result;
end
$$;
