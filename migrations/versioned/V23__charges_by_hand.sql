-- Charges of ours that a person ends, because no answer of the provider did (EC-2, OP-4).
--
-- V14 subscriptions → **V23 charges by hand** → `origin::subscriptions::by_hand`.
--
-- Invariant: what a person says of a charge is an attempt like any other, and its row tells that a person said it.
-- The index holds the charges without a result only: a handful beside all that were ever made.

alter table tollgate.subscription_payments drop constraint subscription_payments_found_by_known;
alter table tollgate.subscription_payments add constraint subscription_payments_found_by_known
    check (found_by in ('notice', 'poll', 'charge', 'operator'));

create index subscription_charges_open on tollgate.subscription_charges (subscription_id)
    where status in ('unsent', 'unknown');
