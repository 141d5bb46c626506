-- The coffees that were handed out. Such an order has a charge that stands, and can
-- no longer be refunded.
--
-- No constraint can exclude a row because of one in another table, so a trigger
-- checks the rule. It takes the same lock on the order as the ledger itself: of a
-- refund and a delivery made at the same time, one waits for the other, and then
-- sees it.
CREATE TABLE IF NOT EXISTS ledger_deliveries (
    order_id    TEXT        NOT NULL CHECK (order_id <> ''),
    run_id      TEXT        NOT NULL CHECK (run_id <> ''),
    recorded_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT ledger_deliveries_pkey PRIMARY KEY (order_id)
);

CREATE OR REPLACE FUNCTION ledger_deliveries_check() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('coffee ledger ' || NEW.order_id, 0));
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

CREATE OR REPLACE TRIGGER ledger_deliveries_paid BEFORE INSERT ON ledger_deliveries
FOR EACH ROW EXECUTE FUNCTION ledger_deliveries_check();

CREATE OR REPLACE TRIGGER ledger_entries_delivered BEFORE INSERT ON ledger_entries
FOR EACH ROW WHEN (NEW.kind <> 'charge') EXECUTE FUNCTION ledger_deliveries_check();

CREATE OR REPLACE TRIGGER ledger_deliveries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_deliveries
FOR EACH STATEMENT EXECUTE FUNCTION ledger_entries_refuse();
