-- What is old is emptied: the daily clean-up finds it without walking what was emptied before (EC-4).
--
-- V3 inbox and outbox → **V18 retention** → `origin::work::cleanup`.
--
-- Invariant: a row is in its index exactly while it has content that may go once it is old enough; emptying takes it
-- out, so a clean-up costs as much as there is to empty. Rows stay: their keys are what makes a repeat a repeat.

create index inbox_events_with_content on tollgate.inbox_events (applied_at)
    where status = 'applied' and octet_length(raw) > 0;
create index outbox_with_content on tollgate.outbox (done_at)
    where status = 'done' and payload <> '{}';

comment on column tollgate.inbox_events.raw is 'Byte for byte what the signature was checked over, so that a mended mapping can be replayed; empty once it was applied and is older than RETENTION_DAYS.';
comment on column tollgate.outbox.payload is 'What to send; {} once it was sent and is older than RETENTION_DAYS.';
