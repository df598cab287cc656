-- Why a charge was refused, in a word that customers can be told (EC-8).
--
-- V14 subscriptions → **V25 decline reasons** → `origin::subscriptions`.
--
-- Invariant: the word is read off the provider's and the bank's codes when the refusal is told, by one table
-- (`shared::provider::decline_reason`); null for attempts that succeeded and for those of before.

alter table tollgate.subscription_payments add column decline_reason text collate "C";
alter table tollgate.subscription_payments add constraint subscription_payments_decline_reason_known check (
    decline_reason is null
    or (status = 'failed' and decline_reason in ('card_expired', 'insufficient_funds', 'card_unusable', 'refused')));
