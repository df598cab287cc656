-- The shapes of the ledger's texts, checked in a way that costs microseconds less.
--
-- V4 ledger → **V5 ledger shapes** → V6 token buckets.
--
-- The same texts pass as in V4. A bounded repeat such as {1,255} makes Postgres' regular expressions carry a state for
-- every count: 40 to 75 microseconds a key here, more than all else that inserting the row costs, and the shape of an
-- account's owner was checked again by every update of its balance. Now the expression looks for one character that
-- does not belong, and the length is counted apart: below one microsecond.

alter table tollgate.ledger_account
    drop constraint ledger_account_owner_shape,
    drop constraint ledger_account_kind_shape,
    add constraint ledger_account_owner_shape
        check (owner ~ '^[a-z]+:[A-Za-z0-9._:@|-]+$' and octet_length(substring(owner from position(':' in owner) + 1)) <= 128),
    add constraint ledger_account_kind_shape check (
        kind ~ '^[a-z_]+(:[a-z0-9-]+)?$'
        and octet_length(split_part(kind, ':', 1)) <= 64 and octet_length(split_part(kind, ':', 2)) <= 32
    );

alter table tollgate.ledger_transaction
    drop constraint ledger_transaction_operation_key_shape,
    drop constraint ledger_transaction_kind_shape,
    add constraint ledger_transaction_operation_key_shape
        check (operation_key !~ '[^!-~]' and octet_length(operation_key) between 1 and 255),
    add constraint ledger_transaction_kind_shape
        check (kind !~ '[^a-z_]' and octet_length(kind) between 1 and 64);
