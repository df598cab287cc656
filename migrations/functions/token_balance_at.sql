-- token_balance_at: what a company had at a past instant, by the ledger's entries.
--
-- Arguments: p_company_id; p_at, the instant; p_now, by which what is due is applied first.
-- Returns a JSON object: company_id, monthly, promotional, purchased, total. Reservations move nothing, so they are not seen.
-- Raises TK001 where an argument is missing or p_at lies after p_now.
-- By occurred_at: an expiry that was recorded late counts from the instant at which it fell due.
-- Costs as much for an old company as for a new one, but for its grants and expiries since p_at (token_books_at).
-- Callers: tollgate_app, through `origin::db::tokens`.

create or replace function tollgate.token_balance_at(p_company_id text, p_at timestamptz, p_now timestamptz)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    v_balances bigint[];
begin
    if num_nulls(p_company_id, p_at, p_now) > 0 or p_at > p_now then
        raise exception using errcode = 'TK001', message = 'tokens: not a past instant';
    end if;
    perform tollgate.token_balance(p_company_id, p_now);
    v_balances := tollgate.token_books_at(p_company_id, p_at);
    return jsonb_build_object(
        'company_id', p_company_id, 'monthly', v_balances[1], 'promotional', v_balances[2], 'purchased', v_balances[3],
        'total', v_balances[1] + v_balances[2] + v_balances[3]);
end
$$;
