-- ledger_faults: everything in the ledger that contradicts its invariants; an empty answer means the books are whole.
--
-- Arguments: none.
-- Returns a row a fault: what is wrong, whose books, which transaction or account, and the figures.
--   unbalanced        entries of a transaction do not sum to zero in a unit
--   no_entries        a transaction without entries
--   orphan            entries of a transaction or of an account that is not there
--   balance           an account's balance is not the sum of its entries, or its version not their number
--   chain             an entry's balance_after is not the balance before it plus its amount, or a version is missing
-- Raises nothing of its own. Takes no locks; reads every entry, so it is for tests and reconciliation, not for requests.
-- Callers: tollgate_app. Runs with the caller's rights: reading is all it does.

create or replace function tollgate.ledger_faults()
returns table (fault text, owner text, subject text, detail text)
language sql
stable
set search_path = pg_catalog, tollgate, pg_temp
as $$
    select 'unbalanced', min(entry.owner), entry.transaction_id::text,
        format('%s sums to %s', entry.unit, sum(entry.amount))
    from tollgate.ledger_entry as entry
    group by entry.transaction_id, entry.unit
    having sum(entry.amount) <> 0 or count(distinct entry.owner) > 1

    union all
    select 'no_entries', transaction.owner, transaction.id::text, transaction.operation_key
    from tollgate.ledger_transaction as transaction
    where not exists (select 1 from tollgate.ledger_entry as entry where entry.transaction_id = transaction.id)

    union all
    select 'orphan', entry.owner, entry.transaction_id::text,
        format('%s %s version %s', entry.account_kind, entry.unit, entry.account_version)
    from tollgate.ledger_entry as entry
    left join tollgate.ledger_transaction as transaction
        on transaction.id = entry.transaction_id and transaction.owner = entry.owner
    left join tollgate.ledger_account as account
        on account.owner = entry.owner and account.kind = entry.account_kind and account.unit = entry.unit
    where transaction.id is null or account.owner is null

    union all
    select 'balance', account.owner, account.kind || ' ' || account.unit,
        format('balance %s, entries sum to %s; version %s, entries %s',
               account.balance, coalesce(sum(entry.amount), 0), account.version, count(entry.amount))
    from tollgate.ledger_account as account
    left join tollgate.ledger_entry as entry
        on entry.owner = account.owner and entry.account_kind = account.kind and entry.unit = account.unit
    group by account.owner, account.kind, account.unit, account.balance, account.version
    having account.balance <> coalesce(sum(entry.amount), 0) or account.version <> count(entry.amount)

    union all
    select 'chain', link.owner, link.account_kind || ' ' || link.unit,
        format('version %s: balance_after %s, amount %s, balance before %s at version %s',
               link.account_version, link.balance_after, link.amount, link.balance_before, link.version_before)
    from (
        select entry.owner, entry.account_kind, entry.unit, entry.account_version, entry.amount, entry.balance_after,
            lag(entry.balance_after, 1, 0::bigint) over account as balance_before,
            lag(entry.account_version, 1, 0::bigint) over account as version_before
        from tollgate.ledger_entry as entry
        window account as (partition by entry.owner, entry.account_kind, entry.unit order by entry.account_version)
    ) as link
    where link.account_version <> link.version_before + 1
        or link.balance_after::numeric <> link.balance_before::numeric + link.amount
$$;
