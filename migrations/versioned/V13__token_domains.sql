-- The shapes of single columns on the hottest path, checked where a value is made and not by every statement.
--
-- V12 token packs → **V13 token domains** → functions/*.sql, which write as before.
--
-- Postgres reads the text of all CHECKs of a table anew for each statement that writes it, and an UPDATE evaluates them
-- whichever columns it sets: of the 440 microseconds of a single deduction 190, measured by leaving them out. A domain is
-- read once a session and checked where a value of it is made: 50 to 65 less (V8 did this to the accounts;
-- xtask/bench/tokens.md has the figures). What looks at one column moved; what compares columns of a row stays a CHECK,
-- shorter by what the domains say already. The same rows pass as before.
-- A refusal names the same constraint, but for what can never be negative: token_balance_not_negative, in three tables.
-- Each domain is made empty, given to its columns, and only then gets its constraint: so Postgres reads the tables to
-- see that it holds and neither rewrites them nor builds an index again, but for the partial ones of state and status.
-- Not here: ledger_entry. Its two CHECKs are short, and ledger_post compares arrays of its amounts: an array of a domain
-- is not one of bigint, and its functions would have to cast.

create domain tollgate.token_company as text collate "C";
create domain tollgate.token_quota as bigint;
create domain tollgate.token_share_days as integer;
create domain tollgate.token_balance as bigint;
create domain tollgate.token_granted as bigint;
create domain tollgate.token_bucket_kind as text;
create domain tollgate.token_bucket_state as text;
create domain tollgate.token_record_amount as bigint;
create domain tollgate.token_record_status as text collate "C";
create domain tollgate.token_usage_amount as bigint;
create domain tollgate.token_usage_type as text;
create domain tollgate.ledger_operation_key as text;
create domain tollgate.ledger_transaction_kind as text;
create domain tollgate.ledger_fingerprint as bytea;

alter table tollgate.company_subscriptions
    drop constraint company_subscriptions_company_shape,
    drop constraint company_subscriptions_quota_range,
    drop constraint company_subscriptions_rollover_range,
    drop constraint company_subscriptions_expired_share_range,
    drop constraint company_subscriptions_not_negative,
    alter column company_id type tollgate.token_company,
    alter column monthly_quota type tollgate.token_quota,
    alter column rollover_max type tollgate.token_quota,
    alter column expired_share_days type tollgate.token_share_days,
    alter column monthly_balance type tollgate.token_balance,
    alter column promotional_balance type tollgate.token_balance,
    alter column purchased_balance type tollgate.token_balance,
    alter column reserved_balance type tollgate.token_balance;

alter table tollgate.token_buckets
    drop constraint token_buckets_kind_known,
    drop constraint token_buckets_state_known,
    drop constraint token_buckets_granted_positive,
    drop constraint token_buckets_clamped,
    alter column kind type tollgate.token_bucket_kind,
    alter column state type tollgate.token_bucket_state,
    alter column granted type tollgate.token_granted,
    alter column remaining type tollgate.token_balance,
    alter column reserved type tollgate.token_balance,
    add constraint token_buckets_clamped check (reserved <= remaining);

alter table tollgate.token_deduction_records
    drop constraint token_deduction_records_status_known,
    drop constraint token_deduction_records_amount_positive,
    drop constraint token_deduction_records_balances_fit,
    alter column status type tollgate.token_record_status,
    alter column amount type tollgate.token_record_amount,
    alter column balance_before type tollgate.token_balance,
    alter column balance_after type tollgate.token_balance,
    add constraint token_deduction_records_amount_fits check (amount <= requested_amount),
    add constraint token_deduction_records_balances_fit check (balance_after <= balance_before);

alter table tollgate.token_usage_logs
    drop constraint token_usage_logs_usage_type_known,
    drop constraint token_usage_logs_amount_not_zero,
    alter column usage_type type tollgate.token_usage_type,
    alter column token_amount type tollgate.token_usage_amount;

alter table tollgate.ledger_transaction
    drop constraint ledger_transaction_operation_key_shape,
    drop constraint ledger_transaction_kind_shape,
    drop constraint ledger_transaction_fingerprint_length,
    alter column operation_key type tollgate.ledger_operation_key,
    alter column kind type tollgate.ledger_transaction_kind,
    alter column fingerprint type tollgate.ledger_fingerprint;

alter domain tollgate.token_company add constraint company_subscriptions_company_shape
    check (value !~ '[^A-Za-z0-9._-]' and octet_length(value) between 1 and 64);
alter domain tollgate.token_quota add constraint company_subscriptions_quota_range
    check (value between 0 and 1000000000000000);
alter domain tollgate.token_share_days add constraint company_subscriptions_expired_share_range
    check (value between 0 and 366);
alter domain tollgate.token_balance add constraint token_balance_not_negative check (value >= 0);
alter domain tollgate.token_granted add constraint token_buckets_granted_positive check (value > 0);
alter domain tollgate.token_bucket_kind add constraint token_buckets_kind_known
    check (value in ('monthly', 'promotional', 'purchased'));
alter domain tollgate.token_bucket_state add constraint token_buckets_state_known
    check (value in ('open', 'empty', 'expired', 'revoked'));
alter domain tollgate.token_record_amount add constraint token_deduction_records_amount_positive check (value > 0);
alter domain tollgate.token_record_status add constraint token_deduction_records_status_known
    check (value in ('completed', 'pending', 'failed', 'compensated'));
alter domain tollgate.token_usage_amount add constraint token_usage_logs_amount_not_zero check (value <> 0);
alter domain tollgate.token_usage_type add constraint token_usage_logs_usage_type_known
    check (value in ('deduction', 'settlement', 'compensation'));
alter domain tollgate.ledger_operation_key add constraint ledger_transaction_operation_key_shape
    check (value !~ '[^!-~]' and octet_length(value) between 1 and 255);
alter domain tollgate.ledger_transaction_kind add constraint ledger_transaction_kind_shape
    check (value !~ '[^a-z_]' and octet_length(value) between 1 and 64);
alter domain tollgate.ledger_fingerprint add constraint ledger_transaction_fingerprint_length
    check (octet_length(value) = 32);
