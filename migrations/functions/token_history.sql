-- token_history: a company's deductions, newest first, a page at a time.
--
-- Arguments
--   p_company_id                    whose
--   p_before_created_at, p_before_id   the last record of the page before; both null for the first page
--   p_limit                         records a page, 1 to 500
-- Returns token_answer a row. Raises nothing. Takes no locks.
-- The cursor is a place in the order, not a count: records that arrive in between neither shift nor repeat a page.
-- Callers: tollgate_app, through `origin::db::tokens`.

create or replace function tollgate.token_history(
    p_company_id text,
    p_before_created_at timestamptz,
    p_before_id uuid,
    p_limit integer
)
returns setof jsonb
language sql
stable
security definer
set search_path = pg_catalog, tollgate, pg_temp
set enable_seqscan = off
as $$
    select tollgate.token_answer(page.id, false)
    from (
        select record.id, record.created_at
        from tollgate.token_deduction_records as record
        where record.company_id = p_company_id
            and (record.created_at, record.id)
                < (coalesce(p_before_created_at, 'infinity'), coalesce(p_before_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
        order by record.created_at desc, record.id desc
        limit least(greatest(p_limit, 1), 500)
    ) as page
    order by page.created_at desc, page.id desc
$$;
