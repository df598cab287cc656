-- The double-entry ledger: accounts with a running balance, transactions, entries.
--
-- V3 inbox and outbox → **V4 ledger** → functions/ledger_post.sql, its only writer.
--
-- Invariants (DESIGN.md, 4): the entries of a transaction sum to zero in each unit; an entry is never changed; a balance
-- is the sum of its entries, and the versions of an account run 1, 2, 3 … without a gap. The function keeps them
-- (grants.sql gives nobody else DML), `ledger_faults` looks for a breach.
-- A transaction has one owner and the owner comes first in every key of the entries: all of an owner's rows can live
-- on one node, and no row is shared by all customers.
-- Not here: foreign keys on ledger_entry. Each would cost an index lookup and a row lock per entry on the hottest path
-- to guard against a writer that the privileges exclude; `ledger_faults` counts orphans.

create table tollgate.ledger_account (
    owner text not null,
    kind text not null,
    unit text not null,
    balance bigint not null default 0,
    version bigint not null default 0,
    no_negative boolean not null default false,
    created_at timestamptz not null,
    updated_at timestamptz not null,

    constraint ledger_account_pkey primary key (owner, kind, unit),
    constraint ledger_account_owner_shape check (owner ~ '^[a-z]+:[A-Za-z0-9._:@|-]{1,128}$'),
    constraint ledger_account_kind_shape check (kind ~ '^[a-z_]{1,64}(:[a-z0-9-]{1,32})?$'),
    constraint ledger_account_unit_known check (unit in ('TWD', 'TOKEN', 'POINT')),
    constraint ledger_account_not_negative check (not no_negative or balance >= 0),
    constraint ledger_account_version_counts check (version >= 0)
)
-- Balances change in place: room for the new version of a row on its page keeps updates off the index.
with (fillfactor = 50);

comment on column tollgate.ledger_account.owner is 'Whose books: user:<id>, company:<id>.';
comment on column tollgate.ledger_account.kind is 'What is counted: sales, provider_clearing:<provider>.';
comment on column tollgate.ledger_account.balance is 'Sum of the entries; debit is positive. Whole minor units (TWD), tokens or points.';
comment on column tollgate.ledger_account.version is 'Number of entries so far.';
comment on column tollgate.ledger_account.no_negative is 'A posting that would take the balance below zero is refused.';

create table tollgate.ledger_transaction (
    id uuid not null,
    owner text not null,
    operation_key text not null,
    kind text not null,
    fingerprint bytea not null,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null,
    delivery_id uuid,

    constraint ledger_transaction_pkey primary key (id),
    constraint ledger_transaction_operation_key unique (operation_key),
    constraint ledger_transaction_operation_key_shape check (operation_key ~ '^[!-~]{1,255}$'),
    constraint ledger_transaction_kind_shape check (kind ~ '^[a-z_]{1,64}$'),
    constraint ledger_transaction_fingerprint_length check (octet_length(fingerprint) = 32)
);

comment on column tollgate.ledger_transaction.operation_key is 'Names the effect; unique over all owners, so it happens once.';
comment on column tollgate.ledger_transaction.fingerprint is 'SHA-256 over the canonical bytes of owner, kind and entries, made in Rust (`origin::ledger`).';
comment on column tollgate.ledger_transaction.occurred_at is 'When it happened, as the provider tells it.';
comment on column tollgate.ledger_transaction.recorded_at is 'When it was posted.';
comment on column tollgate.ledger_transaction.delivery_id is 'The delivery that caused it, followed from the edge.';

create table tollgate.ledger_entry (
    owner text not null,
    account_kind text not null,
    unit text not null,
    account_version bigint not null,
    transaction_id uuid not null,
    amount bigint not null,
    balance_after bigint not null,

    constraint ledger_entry_pkey primary key (owner, account_kind, unit, account_version),
    constraint ledger_entry_amount_not_zero check (amount <> 0),
    constraint ledger_entry_version_positive check (account_version > 0)
);

create index ledger_entry_by_transaction on tollgate.ledger_entry (transaction_id);

comment on column tollgate.ledger_entry.account_version is 'The version of the account that this entry made.';
comment on column tollgate.ledger_entry.amount is 'Signed; debit is positive.';
comment on column tollgate.ledger_entry.balance_after is 'Balance of the account after this entry.';
