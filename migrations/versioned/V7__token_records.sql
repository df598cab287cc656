-- What was spent, under which key: deduction records, reservations and the usage log.
--
-- V6 token buckets → **V7 token records** → functions/deduct_tokens_batch.sql and token_*.sql, the only writers.
--
-- Invariants: the idempotency key is unique over all companies and sits in the row that is the effect (its ledger
-- transaction has the same id); a record that is completed or compensated has that transaction, one that is pending or
-- failed has none. A refusal for lack of balance is a record too (failed), so that it is final for its key.
-- Keys are never deleted: they live as long as the record.
-- TB-4 names columns and indexes. Two of the indexes are narrower than a plain one, because each would cost
-- the hot path an insertion: `status` leaves out completed rows, which are nearly all, and `created_at` is a block
-- range index, which fits a table that grows in time order.

create table tollgate.token_deduction_records (
    id uuid not null,
    idempotency_key text collate "C" not null,
    company_id text collate "C" not null,
    article_id text collate "C" not null,
    amount bigint not null,
    requested_amount bigint not null,
    status text collate "C" not null,
    balance_before bigint not null,
    balance_after bigint not null,
    taken_monthly bigint not null default 0,
    taken_promotional bigint not null default 0,
    taken_purchased bigint not null default 0,
    bucket_ids uuid[] not null default '{}',
    bucket_amounts bigint[] not null default '{}',
    error_message text,
    retry_count integer not null default 0,
    created_at timestamptz not null,
    completed_at timestamptz,
    compensated_at timestamptz,
    metadata jsonb,

    constraint token_deduction_records_pkey primary key (id),
    constraint token_deduction_records_idempotency_key unique (idempotency_key),
    constraint token_deduction_records_status_known check (status in ('completed', 'pending', 'failed', 'compensated')),
    constraint token_deduction_records_status_times check (
        (status = 'pending') = (completed_at is null) and (status = 'compensated') = (compensated_at is not null)
    ),
    constraint token_deduction_records_failed_has_reason check ((status = 'failed') = (error_message is not null)),
    constraint token_deduction_records_amount_positive check (amount > 0 and amount <= requested_amount),
    constraint token_deduction_records_taken_whole check (
        taken_monthly + taken_promotional + taken_purchased = case when status in ('completed', 'compensated') then amount else 0 end
    ),
    constraint token_deduction_records_balances_fit check (
        balance_before >= 0 and balance_after >= 0 and balance_after <= balance_before
    )
);

create index token_deduction_records_company on tollgate.token_deduction_records (company_id, created_at, id);
create index token_deduction_records_status on tollgate.token_deduction_records (status, created_at) where status <> 'completed';
create index token_deduction_records_created on tollgate.token_deduction_records
    using brin (created_at) with (pages_per_range = 32, autosummarize = on);

comment on column tollgate.token_deduction_records.id is 'UUIDv7 made in Rust; also the id of the ledger transaction.';
comment on column tollgate.token_deduction_records.amount is 'Tokens deducted; of a pending record what is reserved, of a failed one what was asked for.';
comment on column tollgate.token_deduction_records.requested_amount is 'The amount of the first call with this key, compared with that of a repeat.';
comment on column tollgate.token_deduction_records.balance_before is 'What could be spent: all buckets less what reservations hold.';
comment on column tollgate.token_deduction_records.bucket_ids is 'The buckets it was taken from, in spending order; bucket_amounts has the shares.';
comment on column tollgate.token_deduction_records.error_message is 'Why it failed: InsufficientBalance, or the reason given on release.';
comment on column tollgate.token_deduction_records.retry_count is 'How often settling was tried again after the reservation had expired.';
comment on column tollgate.token_deduction_records.metadata is 'Of the first call; moves nothing and is not compared with that of a repeat.';

create table tollgate.token_reservations (
    record_id uuid not null,
    company_id text collate "C" not null,
    amount bigint not null,
    state text not null default 'held',
    expires_at timestamptz not null,
    bucket_ids uuid[] not null,
    bucket_amounts bigint[] not null,
    created_at timestamptz not null,
    ended_at timestamptz,

    constraint token_reservations_pkey primary key (record_id),
    constraint token_reservations_state_known check (state in ('held', 'settled', 'released', 'expired')),
    constraint token_reservations_state_times check ((state = 'held') = (ended_at is null)),
    constraint token_reservations_amount_positive check (amount > 0)
);

create index token_reservations_held on tollgate.token_reservations (company_id, expires_at) where state = 'held';

comment on column tollgate.token_reservations.state is 'expired: the hold ended by itself; its record stays pending for reconciliation to decide (TB-8).';

create table tollgate.token_usage_logs (
    deduction_record_id uuid not null,
    usage_type text not null,
    company_id text collate "C" not null,
    article_id text collate "C" not null,
    token_amount bigint not null,
    metadata jsonb,
    created_at timestamptz not null,

    constraint token_usage_logs_pkey primary key (deduction_record_id, usage_type),
    constraint token_usage_logs_usage_type_known check (usage_type in ('deduction', 'settlement', 'compensation')),
    constraint token_usage_logs_amount_not_zero check (token_amount <> 0)
);

comment on column tollgate.token_usage_logs.token_amount is 'Tokens used; negative where a compensation gave them back.';
