-- Metered jobs: an article that a generator makes, whose tokens are reserved first and settled when it is done (TB-7).
--
-- V10 company members → **V11 article jobs** → `origin::jobs`, the only writer.
--
-- Invariants: one job a user and idempotency key; the reservation has the job's id as its key, so a job is charged once
-- whoever reports how often. A job ends as completed or failed; pending_token_deduction means that the article is there and
-- its tokens are not deducted yet, and reconciliation goes on trying (TB-8).
-- Not here: the tokens themselves (V6, V7), the call to the generator (outbox, V3).

create table tollgate.article_jobs (
    id uuid not null,
    company_id text collate "C" not null,
    user_id text not null,
    idempotency_key text collate "C" not null,
    input jsonb not null,
    status text collate "C" not null default 'generating',
    reserved_tokens bigint not null,
    used_tokens bigint,
    charge_key text collate "C" not null,
    article_id text collate "C",
    error_message text,
    retry_count integer not null default 0,
    delivery_id uuid,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    completed_at timestamptz,

    constraint article_jobs_pkey primary key (id),
    constraint article_jobs_idempotency_key unique (user_id, idempotency_key),
    constraint article_jobs_charge_key unique (charge_key),
    constraint article_jobs_input_object check (jsonb_typeof(input) = 'object'),
    constraint article_jobs_status_known
        check (status in ('generating', 'completed', 'failed', 'pending_token_deduction')),
    constraint article_jobs_status_times check ((status in ('completed', 'failed')) = (completed_at is not null)),
    constraint article_jobs_trouble_has_reason
        check ((status in ('failed', 'pending_token_deduction')) = (error_message is not null)),
    constraint article_jobs_use_is_known
        check (status not in ('completed', 'pending_token_deduction') or used_tokens is not null),
    constraint article_jobs_reserved_positive check (reserved_tokens > 0),
    constraint article_jobs_used_not_negative check (used_tokens >= 0),
    constraint article_jobs_retries_counted check (retry_count >= 0)
);

create index article_jobs_of_company on tollgate.article_jobs (company_id, created_at, id);
create index article_jobs_undecided on tollgate.article_jobs (updated_at, id) where status = 'pending_token_deduction';

comment on column tollgate.article_jobs.idempotency_key is 'The browser''s, of POST /api/articles/generate.';
comment on column tollgate.article_jobs.reserved_tokens is 'The estimate; a job is never charged more.';
comment on column tollgate.article_jobs.used_tokens is 'As reported; what is above reserved_tokens is not charged.';
comment on column tollgate.article_jobs.charge_key is 'Under which the tokens are deducted: the id, and a new one after each refusal for lack of balance, which is final for its key.';
comment on column tollgate.article_jobs.updated_at is 'Since when it has its status.';
