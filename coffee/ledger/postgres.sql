-- The ledger. Amounts are in cents.
--
-- It is made with a search_path of its schema, followed by pg_temp. The functions keep
-- that path, so neither a temporary table nor the session of who writes can bend the names
-- in them. The functions that they call are named with their schema and with the types
-- of their arguments, so that nobody's function of the same name fits better. The triggers
-- are ENABLE ALWAYS, because a role's session_replication_role would switch off others.

-- Which ledger this is, in one row: the version of its schema, and an id of its own.
CREATE TABLE ledger_schema (
    one       INTEGER NOT NULL DEFAULT 1,
    version   INTEGER NOT NULL,
    ledger_id TEXT    NOT NULL,
    CONSTRAINT ledger_schema_pkey PRIMARY KEY (one),
    CONSTRAINT ledger_schema_one CHECK (one = 1),
    CONSTRAINT ledger_schema_id CHECK (ledger_id <> '')
);

-- Whose orders it keeps, in one row, which is there since the first use.
CREATE TABLE ledger_owner (
    one          INTEGER NOT NULL DEFAULT 1,
    namespace_id TEXT    NOT NULL,
    namespace    TEXT    NOT NULL,
    CONSTRAINT ledger_owner_pkey PRIMARY KEY (one),
    CONSTRAINT ledger_owner_one CHECK (one = 1),
    CONSTRAINT ledger_owner_id CHECK (namespace_id <> '')
);

-- Unlike triggers on INSERT, constraints hold whatever transactions run
-- concurrently. So the rules are constraints:
--   one entry of each kind per order        ledger_entries_pkey
--   a charge or a void, never both          ledger_entries_first
--   a refund has its charge, and equals it  ledger_entries_refund
CREATE TABLE ledger_entries (
    entry_id     BIGINT      GENERATED ALWAYS AS IDENTITY,
    order_id     TEXT        NOT NULL,
    kind         TEXT        NOT NULL,
    amount_cents BIGINT      NOT NULL,
    run_id       TEXT        NOT NULL,
    recorded_at  TIMESTAMPTZ NOT NULL,
    gives_back   TEXT        GENERATED ALWAYS AS (CASE kind WHEN 'refund' THEN 'charge' END) STORED,
    CONSTRAINT ledger_entries_pkey PRIMARY KEY (order_id, kind),
    CONSTRAINT ledger_entries_order CHECK (order_id <> ''),
    CONSTRAINT ledger_entries_kind CHECK (kind IN ('charge', 'refund', 'void')),
    CONSTRAINT ledger_entries_run CHECK (run_id <> ''),
    CONSTRAINT ledger_entries_amount CHECK (CASE kind WHEN 'void' THEN amount_cents = 0 ELSE amount_cents > 0 END),
    CONSTRAINT ledger_entries_key UNIQUE (order_id, kind, amount_cents, run_id),
    CONSTRAINT ledger_entries_refund FOREIGN KEY (order_id, gives_back, amount_cents, run_id)
        REFERENCES ledger_entries (order_id, kind, amount_cents, run_id)
);

CREATE UNIQUE INDEX ledger_entries_first ON ledger_entries (order_id) WHERE kind IN ('charge', 'void');

-- The coffees that were handed out. Such an order has a charge that stands, and can
-- no longer be refunded. The foreign key also has pg_dump restore charges first.
CREATE TABLE ledger_deliveries (
    order_id    TEXT        NOT NULL,
    run_id      TEXT        NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL,
    paid_by     TEXT        GENERATED ALWAYS AS ('charge') STORED,
    CONSTRAINT ledger_deliveries_pkey PRIMARY KEY (order_id),
    CONSTRAINT ledger_deliveries_run CHECK (run_id <> ''),
    CONSTRAINT ledger_deliveries_charge FOREIGN KEY (order_id, paid_by) REFERENCES ledger_entries (order_id, kind)
);

CREATE OR REPLACE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    RAISE EXCEPTION 'the rows of % are never changed or deleted', TG_TABLE_NAME;
END
$$;

CREATE OR REPLACE FUNCTION ledger_check_version() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NEW.version <= OLD.version OR NEW.ledger_id <> OLD.ledger_id THEN
        RAISE EXCEPTION 'the version of a ledger moves forward only, and its id stays';
    END IF;
    RETURN NEW;
END
$$;

-- No constraint can exclude a row because of one in another table, so a trigger
-- checks the rule. It takes the same lock on the order as the ledger itself: of a
-- refund and a delivery made at the same time, one waits for the other, and then
-- sees it.
CREATE OR REPLACE FUNCTION ledger_check_delivery() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('coffee ledger ' || NEW.order_id, 0::bigint));
    IF TG_TABLE_NAME = 'ledger_deliveries' THEN
        IF EXISTS (SELECT FROM ledger_entries WHERE order_id = NEW.order_id AND kind <> 'charge')
            OR NOT EXISTS (SELECT FROM ledger_entries WHERE order_id = NEW.order_id AND kind = 'charge' AND run_id = NEW.run_id) THEN
            RAISE EXCEPTION 'a delivery has a charge that stands';
        END IF;
    ELSIF EXISTS (SELECT FROM ledger_deliveries WHERE order_id = NEW.order_id) THEN
        RAISE EXCEPTION 'a coffee that was handed out is not refunded';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER ledger_schema_forward BEFORE UPDATE ON ledger_schema
FOR EACH ROW EXECUTE FUNCTION ledger_check_version();
CREATE TRIGGER ledger_schema_stays BEFORE DELETE OR TRUNCATE ON ledger_schema
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_owner_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_owner
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_entries_delivered BEFORE INSERT ON ledger_entries
FOR EACH ROW WHEN (NEW.kind <> 'charge') EXECUTE FUNCTION ledger_check_delivery();
CREATE TRIGGER ledger_deliveries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_deliveries
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_deliveries_paid BEFORE INSERT ON ledger_deliveries
FOR EACH ROW EXECUTE FUNCTION ledger_check_delivery();

ALTER TABLE ledger_schema ENABLE ALWAYS TRIGGER ledger_schema_forward, ENABLE ALWAYS TRIGGER ledger_schema_stays;
ALTER TABLE ledger_owner ENABLE ALWAYS TRIGGER ledger_owner_append_only;
ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_entries_append_only, ENABLE ALWAYS TRIGGER ledger_entries_delivered;
ALTER TABLE ledger_deliveries ENABLE ALWAYS TRIGGER ledger_deliveries_append_only, ENABLE ALWAYS TRIGGER ledger_deliveries_paid;
