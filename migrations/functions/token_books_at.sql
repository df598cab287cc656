-- token_books_at: a company's three balances at a past instant, by its books as they are now.
--
-- Arguments: p_company_id; p_at, the instant.
-- Returns the balances of token_monthly, token_promotional and token_purchased, in this order; zeros without books.
-- Raises nothing. By occurred_at, as if every entry with occurred_at <= p_at were summed up, which would take the longer the
--   older the company is. Instead, since an entry tells the balance after it, each balance is
--     that of the last entry recorded well before p_at,
--     and the entries around p_at that were recorded by then,
--     and what was recorded later although it happened by then.
--   The last are the expiries, periods' grants and revocations that fell due before somebody looked. Nothing else is dated
--   back, and their other side is token_expired or token_issued, which have no entry for a deduction: there they are sought.
-- Versions follow recorded_at, but not strictly: a call reads the clock before it waits for the company's lock, and
--   machines' clocks differ. c_disorder is more than both together; the entries of twice that long are read.
-- Takes no locks. The accounts' versions are read in one snapshot, and entries up to them never change.
-- Callers: functions/token_balance_at.sql only.

create or replace function tollgate.token_books_at(p_company_id text, p_at timestamptz)
returns bigint[]
language plpgsql
stable
set search_path = pg_catalog, tollgate, pg_temp
-- Rows are few and the tables large, which a server that has not analysed them cannot know.
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    c_disorder constant interval := '5 minutes';
    c_kinds constant text[] := array['token_monthly', 'token_promotional', 'token_purchased'];
    v_owner text := 'company:' || p_company_id;
    v_balances bigint[] := array[0, 0, 0];
    v_account record;
    v_leg record;
    v_nth integer;
    v_from bigint;
    v_to bigint;
begin
    for v_account in
        select account.kind, account.version
        from tollgate.ledger_account as account
        where account.owner = v_owner and account.unit = 'TOKEN'
            and account.kind in ('token_monthly', 'token_promotional', 'token_purchased', 'token_issued', 'token_expired')
    loop
        v_from := tollgate.token_recorded_version(v_owner, v_account.kind, v_account.version, p_at - c_disorder);
        v_nth := array_position(c_kinds, v_account.kind::text);
        if v_nth is not null then
            v_to := tollgate.token_recorded_version(v_owner, v_account.kind, v_account.version, p_at + c_disorder);
            v_balances[v_nth] := v_balances[v_nth] + coalesce((
                select entry.balance_after
                from tollgate.ledger_entry as entry
                where entry.owner = v_owner and entry.account_kind = v_account.kind and entry.unit = 'TOKEN'
                    and entry.account_version = v_from
            ), 0) + coalesce((
                select sum(entry.amount)
                from tollgate.ledger_entry as entry
                join tollgate.ledger_transaction as transaction on transaction.id = entry.transaction_id
                where entry.owner = v_owner and entry.account_kind = v_account.kind and entry.unit = 'TOKEN'
                    and entry.account_version > v_from and entry.account_version <= v_to
                    and transaction.recorded_at <= p_at
            ), 0);
        else
            for v_leg in
                select leg.account_kind, leg.amount
                from tollgate.ledger_entry as entry
                join tollgate.ledger_transaction as transaction on transaction.id = entry.transaction_id
                join tollgate.ledger_entry as leg on leg.transaction_id = transaction.id
                where entry.owner = v_owner and entry.account_kind = v_account.kind and entry.unit = 'TOKEN'
                    and entry.account_version > v_from and entry.account_version <= v_account.version
                    and transaction.recorded_at > p_at and transaction.occurred_at <= p_at
                    and leg.account_kind in ('token_monthly', 'token_promotional', 'token_purchased')
            loop
                v_nth := array_position(c_kinds, v_leg.account_kind::text);
                v_balances[v_nth] := v_balances[v_nth] + v_leg.amount;
            end loop;
        end if;
    end loop;
    return v_balances;
end
$$;
