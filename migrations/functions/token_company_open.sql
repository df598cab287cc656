-- token_company_open: the company's row and its ledger accounts, made when it first gets something.
--
-- Arguments: p_company_id (1 to 64 of A-Z a-z 0-9 . _ -), p_now.
-- Returns nothing; a company that is there stays as it is. Leaves its row locked, with what is due by p_now applied.
-- Raises 23514 with the constraint's name where the id breaks the shape.
-- Accounts of owner company:<id>, unit TOKEN, all opened here so that a deduction finds each of them: token_monthly,
--   token_promotional and token_purchased hold the balances and are no_negative; token_issued, token_used and token_expired
--   are where tokens come from and go to. Every movement has both legs among them.
-- Locks the company. Callers: functions/token_*.sql only.

create or replace function tollgate.token_company_open(p_company_id text, p_now timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    v_kind text;
begin
    insert into tollgate.company_subscriptions (company_id, created_at, updated_at)
    values (p_company_id, p_now, p_now)
    on conflict (company_id) do nothing;
    if found then
        foreach v_kind in array array['token_expired', 'token_issued', 'token_used'] loop
            perform tollgate.ledger_account_open('company:' || p_company_id, v_kind, 'TOKEN', false, p_now);
        end loop;
        foreach v_kind in array array['token_monthly', 'token_promotional', 'token_purchased'] loop
            perform tollgate.ledger_account_open('company:' || p_company_id, v_kind, 'TOKEN', true, p_now);
        end loop;
    end if;
    perform tollgate.token_company_lock(p_company_id, p_now);
end
$$;
