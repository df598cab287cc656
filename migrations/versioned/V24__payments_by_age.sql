-- Payments in the order of their age: those without news are looked for every five minutes, and whole days are compared.
--
-- V2 payments → **V24 payments by age** → `origin::db::polls` (OP-5).
--
-- Invariant: a page costs as much as the payments of its days, however many there are of other days.

create index payments_by_age on tollgate.payments (created_at, id);
