-- token_recorded_version: the version of a token account that had been reached when an instant was over.
--
-- Arguments
--   p_owner, p_kind   the account, unit TOKEN
--   p_version_max     the newest version looked at
--   p_at              the instant
-- Returns a version v from 0 to p_version_max: v was recorded by p_at (or is 0), and v + 1 after it (or is not there). Where
--   entries were recorded out of order there are several such borders, and this is one of them.
-- Raises nothing. A search by halves: some twenty reads of two primary keys for a million entries.
-- Takes no locks: entries never change. Callers: functions/token_books_at.sql only.

create or replace function tollgate.token_recorded_version(
    p_owner text,
    p_kind text,
    p_version_max bigint,
    p_at timestamptz
)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, tollgate, pg_temp
set enable_seqscan = off
as $$
declare
    v_reached bigint := 0;
    v_beyond bigint := p_version_max + 1;
    v_middle bigint;
    v_recorded_at timestamptz;
begin
    while v_beyond - v_reached > 1 loop
        v_middle := v_reached + (v_beyond - v_reached) / 2;
        select transaction.recorded_at into v_recorded_at
        from tollgate.ledger_entry as entry
        join tollgate.ledger_transaction as transaction on transaction.id = entry.transaction_id
        where entry.owner = p_owner and entry.account_kind = p_kind and entry.unit = 'TOKEN'
            and entry.account_version = v_middle;
        if v_recorded_at <= p_at then
            v_reached := v_middle;
        else
            v_beyond := v_middle;
        end if;
    end loop;
    return v_reached;
end
$$;
