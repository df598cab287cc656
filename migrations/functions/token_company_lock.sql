-- token_company_lock: takes the lock of a company's tokens and brings them up to date.
--
-- Arguments: p_company_id, p_now.
-- Returns true if the company is there. Raises nothing.
-- Every writer of one company begins here, so that nobody decides on a balance that has expired in the meantime;
--   deduct_tokens_batch does the same for many.
-- Locks the company until the end of the transaction. Callers: functions/token_*.sql only.

create or replace function tollgate.token_company_lock(p_company_id text, p_now timestamptz)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    v_next_due_at timestamptz;
begin
    select company.next_due_at into v_next_due_at
    from tollgate.company_subscriptions as company
    where company.company_id = p_company_id
    for update;
    if not found then
        return false;
    end if;
    if v_next_due_at <= p_now then
        perform tollgate.token_apply_due(p_company_id, p_now);
    end if;
    return true;
end
$$;
