-- The shapes of an account's texts, checked when an account is opened and not each time its balance moves.
--
-- V7 token records → **V8 ledger domains**.
--
-- A CHECK of a table is evaluated by every UPDATE of a row, whichever columns it sets; a domain only where a value of
-- it is made. Balances move on the hottest path, names never change: measured here, the three text checks took
-- 15 of 24 microseconds of moving a balance. The same texts pass as in V5, and a refusal names the same constraint.
-- That a version never falls below zero is left to ledger_post, its only writer, and to ledger_faults.

create domain tollgate.ledger_owner as text
    constraint ledger_account_owner_shape check (
        value ~ '^[a-z]+:[A-Za-z0-9._:@|-]+$'
        and octet_length(substring(value from position(':' in value) + 1)) <= 128
    );

create domain tollgate.ledger_account_kind as text
    constraint ledger_account_kind_shape check (
        value ~ '^[a-z_]+(:[a-z0-9-]+)?$'
        and octet_length(split_part(value, ':', 1)) <= 64 and octet_length(split_part(value, ':', 2)) <= 32
    );

create domain tollgate.ledger_unit as text
    constraint ledger_account_unit_known check (value in ('TWD', 'TOKEN', 'POINT'));

alter table tollgate.ledger_account
    drop constraint ledger_account_owner_shape,
    drop constraint ledger_account_kind_shape,
    drop constraint ledger_account_unit_known,
    drop constraint ledger_account_version_counts,
    alter column owner type tollgate.ledger_owner,
    alter column kind type tollgate.ledger_account_kind,
    alter column unit type tollgate.ledger_unit;
