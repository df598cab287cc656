-- Who may do what: everything that tollgate_app has, stated whole.
--
-- versioned/ → functions/ → **grants**, as tollgate_owner, in one transaction with the functions.
--
-- Invariant (DESIGN.md, 4): tollgate_app cannot INSERT, UPDATE or DELETE the ledger's tables and cannot DELETE or
-- TRUNCATE anything; it reads them and calls functions. Everything is revoked first, so what is not written here
-- is not granted, whatever an earlier version granted. PUBLIC has nothing: functions would be executable by all.
-- Not here: which login may become tollgate_app (README.md).

revoke all on all tables in schema tollgate from public, tollgate_app;
revoke all on all sequences in schema tollgate from public, tollgate_app;
revoke all on all functions in schema tollgate from public, tollgate_app;
revoke all on schema tollgate from public, tollgate_app;

grant usage on schema tollgate to tollgate_app;

-- Readable whole: the service answers questions about all of it.
grant select on all tables in schema tollgate to tollgate_app;

-- No function guards these.
grant insert, update on
    tollgate.users,
    tollgate.plans,
    tollgate.payments,
    tollgate.payment_charges,
    tollgate.checkout_requests,
    tollgate.inbox_events,
    tollgate.disputes,
    tollgate.outbox,
    tollgate.company_members,
    tollgate.article_jobs,
    tollgate.notice_preferences,
    tollgate.saas_subscriptions,
    tollgate.subscription_payments,
    tollgate.period_transactions,
    tollgate.payment_credentials,
    tollgate.subscription_charges,
    tollgate.refunds,
    tollgate.provider_limits,
    tollgate.scheduled_jobs
to tollgate_app;

-- A key is written once; afterwards it can only be revoked.
grant insert, update (revoked_at) on tollgate.service_keys to tollgate_app;

-- Append-only: what happened, happened.
grant insert on
    tollgate.event_log,
    tollgate.notices,
    tollgate.subscription_facts,
    tollgate.subscription_history,
    tollgate.admin_actions
to tollgate_app;

-- The ledger's only doors.
grant execute on function
    tollgate.ledger_account_open(text, text, text, boolean, timestamptz),
    tollgate.ledger_post(text, text, text, bytea, text[], text[], bigint[], uuid, uuid, timestamptz, timestamptz),
    tollgate.ledger_faults()
to tollgate_app;

-- Tokens: the only doors of company_subscriptions, token_buckets and the token records. The other token_* functions
-- are steps of these and run with the owner's rights inside them.
grant execute on function
    tollgate.deduct_tokens_atomic(text, text, text, bigint, jsonb, uuid, timestamptz),
    tollgate.deduct_tokens_batch(text[], text[], text[], bigint[], jsonb[], uuid[], timestamptz),
    tollgate.token_balance(text, timestamptz),
    tollgate.token_balance_at(text, timestamptz, timestamptz),
    tollgate.token_compensate(text, text, uuid, timestamptz),
    tollgate.token_expire_due(timestamptz, integer),
    tollgate.token_faults(),
    tollgate.token_grant(text, text, text, bigint, smallint, timestamptz, uuid, timestamptz),
    tollgate.token_history(text, timestamptz, uuid, integer),
    tollgate.token_plan_set(text, text, bigint, bigint, integer, timestamptz, timestamptz),
    tollgate.token_record_by_key(text, text),
    tollgate.token_release(text, text, text, timestamptz),
    tollgate.token_reserve(text, text, text, bigint, jsonb, timestamptz, uuid, timestamptz),
    tollgate.token_revoke_grant(text, uuid, timestamptz),
    tollgate.token_settle(text, text, bigint, timestamptz)
to tollgate_app;
