-- ledger_post: books one balanced transaction of one owner, once per operation key.
--
-- Arguments
--   p_owner            whose books (user:<id>); every entry is on an account of this owner
--   p_operation_key    names the effect, unique over all owners
--   p_kind             what kind of transaction (settle, refund)
--   p_fingerprint      SHA-256 over owner, kind and entries, made by the caller from canonical bytes
--   p_account_kinds, p_units, p_amounts
--                      the entries, one a position, strictly ascending by (kind, unit) byte for byte; amounts in whole
--                      minor units, tokens or points, debit positive. An account that is not there is opened.
--   p_transaction_id   the id a new transaction gets (UUIDv7)
--   p_delivery_id      the delivery that caused it, or null
--   p_occurred_at      when it happened
--   p_now              when it is recorded; the function reads no clock
-- Returns one row: the transaction's id and recorded_at, whether this is a replay, and balance and version of each
--   account after its entry, in the order of the arguments. A replay changes nothing and returns the first result.
--   Owner, kind and entries make a replay the same; ids and times of the first call stay.
-- Raises, in this order
--   LG001 an argument is missing or the arrays do not fit together
--   LG002 no entries                        LG003 more than 100 entries
--   LG004 an amount is zero or beyond 10^15 LG005 entries not strictly ascending (so also: an account twice)
--   LG006 entries of a unit do not sum to zero
--   LG007 the operation key was used for something else; COLUMN names the first field that differs
--   LG008 a no_negative account would fall below zero
--   LG009 a balance would leave bigint
--   23514 with the constraint's name where a text breaks the shape of its column, 23505 where p_transaction_id is taken
-- Locks the operation key (a concurrent twin waits, then replays), then the accounts in ascending order: two postings
--   cannot deadlock. Several postings in one transaction can; callers retry 40P01 (`origin::db::tx`).
-- Callers: tollgate_app, through `origin::db::ledger`.

create or replace function tollgate.ledger_post(
    p_owner text,
    p_operation_key text,
    p_kind text,
    p_fingerprint bytea,
    p_account_kinds text[],
    p_units text[],
    p_amounts bigint[],
    p_transaction_id uuid,
    p_delivery_id uuid,
    p_occurred_at timestamptz,
    p_now timestamptz,
    out transaction_id uuid,
    out recorded_at timestamptz,
    out replayed boolean,
    out balances_after bigint[],
    out account_versions bigint[]
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    c_entries_max constant integer := 100;
    -- Fifteen digits, as `shared::money` reads them: a hundred of them cannot overflow a sum.
    c_amount_max constant bigint := 1000000000000000;
    v_count integer := cardinality(p_amounts);
    v_sum bigint := 0;
    v_units_differ boolean := false;
    v_unit text;
    v_field text;
    v_amount bigint;
    v_balance bigint;
    v_version bigint;
    v_no_negative boolean;
begin
    if num_nulls(p_owner, p_operation_key, p_kind, p_fingerprint, p_account_kinds, p_units, p_amounts,
                 p_transaction_id, p_occurred_at, p_now) > 0
        or cardinality(p_account_kinds) <> v_count or cardinality(p_units) <> v_count
        or array_position(p_account_kinds, null) is not null or array_position(p_units, null) is not null
        or array_position(p_amounts, null) is not null
    then
        raise exception using errcode = 'LG001', message = 'ledger: malformed posting',
            detail = 'Only p_delivery_id may be null, and the three arrays of entries have one length.';
    end if;
    if v_count = 0 then
        raise exception using errcode = 'LG002', message = 'ledger: a posting without entries';
    end if;
    if v_count > c_entries_max then
        raise exception using errcode = 'LG003', message = 'ledger: too many entries',
            detail = format('%s entries, at most %s.', v_count, c_entries_max);
    end if;

    for i in 1..v_count loop
        v_amount := p_amounts[i];
        if v_amount = 0 or v_amount > c_amount_max or v_amount < -c_amount_max then
            raise exception using errcode = 'LG004', message = 'ledger: amount out of range',
                detail = format('Entry %s: %s; zero moves nothing, and %s is the most.', i, v_amount, c_amount_max);
        end if;
        v_sum := v_sum + v_amount;
    end loop;
    for i in 2..v_count loop
        if p_account_kinds[i - 1] collate "C" > p_account_kinds[i] collate "C"
            or (p_account_kinds[i - 1] = p_account_kinds[i] and p_units[i - 1] collate "C" >= p_units[i] collate "C")
        then
            raise exception using errcode = 'LG005', message = 'ledger: entries are not strictly ascending',
                detail = format('Entry %s (%s, %s) does not come after the one before it.',
                                i, p_account_kinds[i], p_units[i]);
        end if;
        v_units_differ := v_units_differ or p_units[i] <> p_units[1];
    end loop;
    if v_units_differ then
        select entry.unit, sum(entry.amount)::bigint into v_unit, v_sum
        from unnest(p_units, p_amounts) as entry (unit, amount)
        group by entry.unit
        having sum(entry.amount) <> 0
        order by entry.unit
        limit 1;
    else
        v_unit := p_units[1];
    end if;
    if v_sum <> 0 then
        raise exception using errcode = 'LG006', message = 'ledger: entries do not balance',
            detail = format('Unit %s sums to %s.', v_unit, v_sum);
    end if;

    -- The unique key is the lock: a twin under way is waited for, and what it committed is found below.
    insert into tollgate.ledger_transaction
        (id, owner, operation_key, kind, fingerprint, occurred_at, recorded_at, delivery_id)
    values
        (p_transaction_id, p_owner, p_operation_key, p_kind, p_fingerprint, p_occurred_at, p_now, p_delivery_id)
    on conflict (operation_key) do nothing;

    if not found then
        select
            case
                when first.owner <> p_owner then 'owner'
                when first.kind <> p_kind then 'kind'
                when posted.account_kinds <> p_account_kinds or posted.units <> p_units then 'accounts'
                when posted.amounts <> p_amounts then 'amounts'
                when first.fingerprint <> p_fingerprint then 'fingerprint'
            end,
            first.id, first.recorded_at, posted.balances_after, posted.account_versions
        into v_field, transaction_id, recorded_at, balances_after, account_versions
        from tollgate.ledger_transaction as first
        cross join lateral (
            select
                array_agg(entry.account_kind order by entry.account_kind collate "C", entry.unit collate "C") as account_kinds,
                array_agg(entry.unit order by entry.account_kind collate "C", entry.unit collate "C") as units,
                array_agg(entry.amount order by entry.account_kind collate "C", entry.unit collate "C") as amounts,
                array_agg(entry.balance_after order by entry.account_kind collate "C", entry.unit collate "C") as balances_after,
                array_agg(entry.account_version order by entry.account_kind collate "C", entry.unit collate "C") as account_versions
            from tollgate.ledger_entry as entry
            where entry.transaction_id = first.id
        ) as posted
        where first.operation_key = p_operation_key;

        if v_field is not null then
            raise exception using errcode = 'LG007', column = v_field,
                message = 'ledger: the operation key was used for something else',
                detail = format('Operation key %s was posted with another %s.', p_operation_key, v_field);
        end if;
        replayed := true;
        return;
    end if;

    for i in 1..v_count loop
        v_amount := p_amounts[i];
        loop
            update tollgate.ledger_account as account
            set balance = account.balance + v_amount, version = account.version + 1, updated_at = p_now
            where account.owner = p_owner and account.kind = p_account_kinds[i] and account.unit = p_units[i]
                -- Written without a sum: a sum could overflow here, and would say so with the wrong code.
                and (not account.no_negative or account.balance >= -v_amount)
                and account.balance between -9223372036854775807 - least(v_amount, 0)
                                        and 9223372036854775807 - greatest(v_amount, 0)
            returning account.balance, account.version into v_balance, v_version;
            exit when found;

            select account.balance, account.no_negative into v_balance, v_no_negative
            from tollgate.ledger_account as account
            where account.owner = p_owner and account.kind = p_account_kinds[i] and account.unit = p_units[i]
            for update;
            if found and v_no_negative and v_balance < -v_amount then
                raise exception using errcode = 'LG008', message = 'ledger: insufficient balance',
                    detail = format('Account %s %s %s holds %s; the entry is %s.',
                                    p_owner, p_account_kinds[i], p_units[i], v_balance, v_amount);
            elsif found and v_balance::numeric + v_amount not between -9223372036854775807 and 9223372036854775807 then
                raise exception using errcode = 'LG009', message = 'ledger: balance out of range',
                    detail = format('Account %s %s %s holds %s; the entry is %s.',
                                    p_owner, p_account_kinds[i], p_units[i], v_balance, v_amount);
            elsif not found then
                insert into tollgate.ledger_account
                    (owner, kind, unit, balance, version, no_negative, created_at, updated_at)
                values
                    (p_owner, p_account_kinds[i], p_units[i], v_amount, 1, false, p_now, p_now)
                on conflict (owner, kind, unit) do nothing
                returning balance, version into v_balance, v_version;
                exit when found;
            end if;
            -- Somebody else opened the account, or put money on it, between two statements: again. Accounts are
            -- never deleted and the row is locked from here on, so the next round ends it.
        end loop;

        insert into tollgate.ledger_entry
            (owner, account_kind, unit, account_version, transaction_id, amount, balance_after)
        values
            (p_owner, p_account_kinds[i], p_units[i], v_version, p_transaction_id, v_amount, v_balance);
        balances_after[i] := v_balance;
        account_versions[i] := v_version;
    end loop;

    transaction_id := p_transaction_id;
    recorded_at := p_now;
    replayed := false;
end
$$;
