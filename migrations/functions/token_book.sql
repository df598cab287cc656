-- token_book: posts one movement between two token accounts of a company, and moves its balances with it.
--
-- Arguments
--   p_company_id       whose
--   p_transaction_id   the id of the ledger transaction
--   p_operation_key    names the effect; ledger_post refuses a second one
--   p_kind             token_grant, token_expire, token_settle, token_compensate, token_revoke
--   p_counter          token_issued, token_used or token_expired: the account on the other side
--   p_monthly, p_promotional, p_purchased   signed changes of the three balances; at least one is not zero
--   p_occurred_at      when it fell due or happened
--   p_now              when it is recorded
-- Returns nothing. Raises what ledger_post raises, and 23514 where a balance would be less than what is reserved.
-- For movements that are rare beside deductions; those write the same rows themselves, many at a time.
-- Locks: the company is locked by the caller; then its accounts in ascending order.
-- Callers: functions/token_*.sql only.

create or replace function tollgate.token_book(
    p_company_id text,
    p_transaction_id uuid,
    p_operation_key text,
    p_kind text,
    p_counter text,
    p_monthly bigint,
    p_promotional bigint,
    p_purchased bigint,
    p_occurred_at timestamptz,
    p_now timestamptz
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    v_kinds text[];
    v_units text[];
    v_amounts bigint[];
begin
    select array_agg(leg.kind order by leg.kind collate "C"), array_agg('TOKEN'::text),
        array_agg(leg.amount order by leg.kind collate "C")
    into v_kinds, v_units, v_amounts
    from (values
        ('token_monthly', p_monthly),
        ('token_promotional', p_promotional),
        ('token_purchased', p_purchased),
        (p_counter, -(p_monthly + p_promotional + p_purchased))
    ) as leg (kind, amount)
    where leg.amount <> 0;

    perform tollgate.ledger_post(
        'company:' || p_company_id, p_operation_key, p_kind,
        -- No part holds a line break.
        sha256(convert_to(concat_ws(E'\n', 'token 1', p_operation_key, p_kind, v_kinds::text, v_amounts::text), 'UTF8')),
        v_kinds, v_units, v_amounts, p_transaction_id, null, p_occurred_at, p_now);

    update tollgate.company_subscriptions as company
    set monthly_balance = company.monthly_balance + p_monthly,
        promotional_balance = company.promotional_balance + p_promotional,
        purchased_balance = company.purchased_balance + p_purchased,
        updated_at = p_now
    where company.company_id = p_company_id;
end
$$;
