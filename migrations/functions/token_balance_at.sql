-- token_balance_at: what a company had at a past instant, summed from the ledger's entries.
--
-- Arguments: p_company_id; p_at, the instant; p_now, by which what is due is applied first.
-- Returns a JSON object: company_id, monthly, promotional, purchased, total. Reservations move nothing, so they are not seen.
-- Raises TK001 where an argument is missing or p_at lies after p_now.
-- By occurred_at: an expiry that was recorded late counts from the instant at which it fell due.
-- Reads every entry of the company's three balances by the primary key: for reports, not for requests.
-- Callers: tollgate_app, through `origin::db::tokens`.

create or replace function tollgate.token_balance_at(p_company_id text, p_at timestamptz, p_now timestamptz)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    v_sum record;
begin
    if num_nulls(p_company_id, p_at, p_now) > 0 or p_at > p_now then
        raise exception using errcode = 'TK001', message = 'tokens: not a past instant';
    end if;
    perform tollgate.token_balance(p_company_id, p_now);
    select
        coalesce(sum(entry.amount) filter (where entry.account_kind = 'token_monthly'), 0)::bigint as monthly,
        coalesce(sum(entry.amount) filter (where entry.account_kind = 'token_promotional'), 0)::bigint as promotional,
        coalesce(sum(entry.amount) filter (where entry.account_kind = 'token_purchased'), 0)::bigint as purchased
    into v_sum
    from tollgate.ledger_entry as entry
    join tollgate.ledger_transaction as transaction on transaction.id = entry.transaction_id
    where entry.owner = 'company:' || p_company_id and entry.unit = 'TOKEN'
        and entry.account_kind in ('token_monthly', 'token_promotional', 'token_purchased')
        and transaction.occurred_at <= p_at;
    return jsonb_build_object(
        'company_id', p_company_id, 'monthly', v_sum.monthly, 'promotional', v_sum.promotional, 'purchased', v_sum.purchased,
        'total', v_sum.monthly + v_sum.promotional + v_sum.purchased);
end
$$;
