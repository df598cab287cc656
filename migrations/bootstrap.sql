-- What must be there before the first versioned migration: two roles, and the schema.
--
-- `tollgate migrate` → **bootstrap** (as the migrating login) → versioned/ → functions/ → grants.sql (all as tollgate_owner).
--
-- Invariant: neither role can log in. tollgate_owner owns every object, tollgate_app is what the service acts as;
-- a login becomes one of them by membership. Repeatable, and safe beside another migrator of the same cluster:
-- roles belong to the cluster, so the advisory lock of one database does not keep two migrators apart.
-- Not here: tables (versioned/), who may do what with them (grants.sql).
-- Failure: a login that may neither create roles nor is a member of them gets 42501 and nothing is changed.

do $$
declare
    v_role text;
    v_is_member boolean;
begin
    foreach v_role in array array['tollgate_owner', 'tollgate_app'] loop
        if not exists (select 1 from pg_catalog.pg_roles where rolname = v_role) then
            begin
                execute pg_catalog.format('create role %I nologin', v_role);
            exception
                -- Another migrator was faster; both codes are seen, depending on who reaches the index first.
                when duplicate_object or unique_violation then null;
            end;
        end if;

        -- From Postgres 16 on, the creator of a role administers it without being able to SET ROLE to it.
        if pg_catalog.current_setting('server_version_num')::integer >= 160000 then
            v_is_member := pg_catalog.pg_has_role(current_user, v_role, 'SET');
        else
            v_is_member := pg_catalog.pg_has_role(current_user, v_role, 'MEMBER');
        end if;
        if not v_is_member then
            execute pg_catalog.format('grant %I to %I', v_role, current_user);
        end if;
    end loop;

    if not exists (select 1 from pg_catalog.pg_namespace where nspname = 'tollgate') then
        create schema tollgate authorization tollgate_owner;
    end if;
end
$$;
