-- Token packs: plans that sell tokens, and buckets whose purchase was paid back.
--
-- V11 article jobs → **V12 token packs** → `origin::apply`, functions/token_revoke_grant.sql.
--
-- Invariants: a plan that sells tokens is charged once and gives nothing else, neither a subscription nor days. What a
-- revoked bucket still holds is what reservations hold in it; nothing that comes back into it can be spent again.
-- One CHECK holds two states of a bucket: the table is on the hottest path, and each CHECK costs every update of it (V8).
-- Not here: which company gets them (V10), the movements (functions/token_grant.sql, token_revoke_grant.sql).

alter table tollgate.plans
    add column tokens bigint,
    add constraint plans_tokens_range check (tokens between 1 and 1000000000000000),
    add constraint plans_tokens_alone check (
        tokens is null or (kind = 'one_time' and subscription_type is null and duration_days is null)
    );

comment on column tollgate.plans.tokens is 'Purchased tokens that a charge gives the user''s company; null: the plan sells no tokens.';

alter table tollgate.token_buckets
    drop constraint token_buckets_state_known,
    drop constraint token_buckets_expired_holds_only_reserved,
    add constraint token_buckets_state_known check (state in ('open', 'empty', 'expired', 'revoked')),
    add constraint token_buckets_ended_holds_only_reserved
        check (state not in ('expired', 'revoked') or remaining = reserved);

comment on column tollgate.token_buckets.state is 'open: can be spent. empty: spent. expired: past expires_at; revoked: its purchase was paid back; in either only what was reserved is left.';

comment on table tollgate.disputes is 'What a person must decide: genuine notices that do not match what we ordered (acknowledged, no money moved), and money that moved while its tokens could not follow.';
