-- The schema `tollgate` as text, a line a fact, in an order that depends on names only.
--
-- migrate::tests → **catalogue** → compared with migrations/schema.txt.
--
-- Invariant: the same text on every supported Postgres version, so nothing that a version adds by itself
-- (18 lists NOT NULL among the constraints, 17 gives the owner MAINTAIN: the owner's own rights are left out) and
-- nothing of the server (oids, names of logins).
-- Not here: bodies of functions and checksums of files; those are in git as they are.

with facts (section, subject, item, fact) as (
    select 1, namespace.nspname, '', format('schema %s owner %s acl %s', namespace.nspname, namespace.nspowner::regrole,
        array_to_string(array(
            select item::text collate "C" from unnest(namespace.nspacl) as item where item::text not like 'tollgate_owner=%' order by 1), ' '))
    from pg_namespace as namespace where namespace.nspname = 'tollgate'

    union all
    select 2, type.typname, lpad(label.enumsortorder::text, 8, '0'), format('enum %s: %s', type.typname, label.enumlabel)
    from pg_enum as label
    join pg_type as type on type.oid = label.enumtypid
    where type.typnamespace = 'tollgate'::regnamespace

    union all
    select 2, type.typname, con.conname, format('domain %s as %s constraint %s %s', type.typname,
        format_type(type.typbasetype, type.typtypmod), con.conname, pg_get_constraintdef(con.oid))
    from pg_type as type
    left join pg_constraint as con on con.contypid = type.oid and con.contype <> 'n'
    where type.typnamespace = 'tollgate'::regnamespace and type.typtype = 'd'

    union all
    select 3, class.relname, '', format('table %s owner %s acl %s%s', class.relname, class.relowner::regrole,
        array_to_string(array(
            select item::text collate "C" from unnest(class.relacl) as item where item::text not like 'tollgate_owner=%' order by 1), ' '),
        coalesce(' with ' || array_to_string(class.reloptions, ', '), ''))
    from pg_class as class
    where class.relnamespace = 'tollgate'::regnamespace and class.relkind in ('r', 'p', 'v', 'm', 'S')

    union all
    select 3, class.relname, '1' || lpad(attribute.attnum::text, 4, '0'), format('  column %s %s%s%s', attribute.attname,
        format_type(attribute.atttypid, attribute.atttypmod),
        case when attribute.attnotnull then ' not null' else '' end,
        coalesce(' default ' || pg_get_expr(fallback.adbin, fallback.adrelid), ''))
    from pg_attribute as attribute
    join pg_class as class on class.oid = attribute.attrelid
    left join pg_attrdef as fallback on fallback.adrelid = attribute.attrelid and fallback.adnum = attribute.attnum
    where class.relnamespace = 'tollgate'::regnamespace and class.relkind in ('r', 'p', 'v', 'm')
        and attribute.attnum > 0 and not attribute.attisdropped

    union all
    select 3, class.relname, '2' || con.conname,
        format('  constraint %s %s', con.conname, pg_get_constraintdef(con.oid))
    from pg_constraint as con
    join pg_class as class on class.oid = con.conrelid
    where class.relnamespace = 'tollgate'::regnamespace and con.contype <> 'n'

    union all
    select 3, class.relname, '3' || index_class.relname, '  ' || pg_get_indexdef(index.indexrelid)
    from pg_index as index
    join pg_class as class on class.oid = index.indrelid
    join pg_class as index_class on index_class.oid = index.indexrelid
    where class.relnamespace = 'tollgate'::regnamespace

    union all
    select 3, class.relname, '4' || trigger.tgname, '  ' || pg_get_triggerdef(trigger.oid)
    from pg_trigger as trigger
    join pg_class as class on class.oid = trigger.tgrelid
    where class.relnamespace = 'tollgate'::regnamespace and not trigger.tgisinternal

    union all
    select 4, proc.proname, pg_get_function_identity_arguments(proc.oid),
        format('function %s(%s) returns %s, %s%s, %s, owner %s acl %s', proc.proname,
            pg_get_function_arguments(proc.oid), pg_get_function_result(proc.oid),
            case proc.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
            case when proc.prosecdef then ' security definer' else '' end,
            array_to_string(proc.proconfig, '; '), proc.proowner::regrole,
            array_to_string(array(
            select item::text collate "C" from unnest(proc.proacl) as item where item::text not like 'tollgate_owner=%' order by 1), ' '))
    from pg_proc as proc
    where proc.pronamespace = 'tollgate'::regnamespace
)
select fact from facts order by section, subject collate "C", item collate "C"
