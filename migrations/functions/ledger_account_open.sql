-- ledger_account_open: opens an account with its flags, before anything is posted to it.
--
-- Accounts without flags need no opening: ledger_post makes them. This is for those that must not go below zero.
-- Arguments
--   p_owner, p_kind, p_unit  the account (user:<id>, kind, TWD | TOKEN | POINT)
--   p_no_negative            true: a posting that would take the balance below zero is refused (LG008)
--   p_now                    when it is recorded; the function reads no clock
-- Returns true if it was opened now, false if it was there with the same flags.
-- Raises, in this order
--   LG001 an argument is missing
--   LG010 the account is there with another flag; COLUMN names it
--   23514 with the constraint's name where a text breaks the shape of its column
-- Locks the new account until the end of the transaction; of an account that is there, nothing.
-- Callers: tollgate_app, through `origin::db::ledger`.

create or replace function tollgate.ledger_account_open(
    p_owner text,
    p_kind text,
    p_unit text,
    p_no_negative boolean,
    p_now timestamptz
)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    v_no_negative boolean;
begin
    if num_nulls(p_owner, p_kind, p_unit, p_no_negative, p_now) > 0 then
        raise exception using errcode = 'LG001', message = 'ledger: malformed account',
            detail = 'No argument may be null.';
    end if;

    insert into tollgate.ledger_account (owner, kind, unit, no_negative, created_at, updated_at)
    values (p_owner, p_kind, p_unit, p_no_negative, p_now, p_now)
    on conflict (owner, kind, unit) do nothing;
    if found then
        return true;
    end if;

    select account.no_negative into v_no_negative
    from tollgate.ledger_account as account
    where account.owner = p_owner and account.kind = p_kind and account.unit = p_unit;
    if v_no_negative <> p_no_negative then
        raise exception using errcode = 'LG010', column = 'no_negative',
            message = 'ledger: the account is open with another flag',
            detail = format('Account %s %s %s has no_negative = %s.', p_owner, p_kind, p_unit, v_no_negative);
    end if;
    return false;
end
$$;
