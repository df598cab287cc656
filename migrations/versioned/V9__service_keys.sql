-- The keys with which a team's backend calls the service API.
--
-- V8 ledger domains → **V9 service keys** → origin/src/db/service_keys.rs.
--
-- Invariants: a key itself is nowhere here, only its SHA-256. A caller has two slots, so that it can change over without a
-- gap, and the partial index lets one unrevoked key at a time into each: two valid keys, whoever creates at the same
-- moment. A revoked key stays, for the question of who could do what and when.
-- Not here: which scopes there are (origin/src/service_keys); one that the program does not know gives nothing.

create table tollgate.service_keys (
    id uuid not null,
    caller text collate "C" not null,
    slot smallint not null,
    key_hash bytea not null,
    scopes text[] not null,
    created_at timestamptz not null,
    revoked_at timestamptz,

    constraint service_keys_pkey primary key (id),
    constraint service_keys_caller_shape check (caller !~ '[^a-z0-9-]' and octet_length(caller) between 1 and 64),
    constraint service_keys_slot_known check (slot in (1, 2)),
    constraint service_keys_hash_is_sha256 check (octet_length(key_hash) = 32),
    constraint service_keys_scopes_some check (cardinality(scopes) > 0),
    constraint service_keys_revoked_later check (revoked_at >= created_at)
);

create unique index service_keys_two_valid on tollgate.service_keys (caller, slot) where revoked_at is null;

comment on column tollgate.service_keys.id is 'UUIDv7 made in Rust; the public part of the key.';
comment on column tollgate.service_keys.key_hash is 'SHA-256 of the whole key. Unsalted and fast on purpose: 256 random bits cannot be guessed or looked up.';
