-- Each lane of the outbox finds its own work without reading the work of the others.
--
-- V3 inbox and outbox, V15 notices → **V19 outbox lanes** → `origin::db::outbox`.
--
-- Invariant: what a claim costs does not grow with the rows that wait: not with those of its own kinds, and not with
-- the mails of a day on which the mail server is down, behind which a charge would have to be found.
-- Not here: which kinds share a lane (`origin::work::outbox::lane`).

create index outbox_due_of_kind on tollgate.outbox (kind, next_attempt_at, created_at, id) where status = 'pending';
create index outbox_last_attempt on tollgate.outbox (lease_expires_at) where status = 'pending' and attempts >= attempts_max;

-- Every reader names the kinds that it is after.
drop index tollgate.outbox_due;
