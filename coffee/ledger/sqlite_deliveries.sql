-- The coffees that were handed out. Such an order has a charge that stands, and can
-- no longer be refunded.
CREATE TABLE IF NOT EXISTS ledger_deliveries (
    order_id    TEXT NOT NULL PRIMARY KEY CHECK (order_id <> ''),
    run_id      TEXT NOT NULL CHECK (run_id <> ''),
    recorded_at TEXT NOT NULL
);

CREATE TRIGGER IF NOT EXISTS ledger_deliveries_no_update BEFORE UPDATE ON ledger_deliveries
BEGIN
    SELECT RAISE(ABORT, 'deliveries are never changed');
END;

CREATE TRIGGER IF NOT EXISTS ledger_deliveries_no_delete BEFORE DELETE ON ledger_deliveries
BEGIN
    SELECT RAISE(ABORT, 'deliveries are never deleted');
END;

CREATE TRIGGER IF NOT EXISTS ledger_deliveries_paid BEFORE INSERT ON ledger_deliveries
WHEN EXISTS (SELECT 1 FROM ledger_deliveries WHERE order_id = NEW.order_id)
    OR EXISTS (SELECT 1 FROM ledger_entries WHERE order_id = NEW.order_id AND kind <> 'charge')
    OR NOT EXISTS (SELECT 1 FROM ledger_entries WHERE order_id = NEW.order_id AND kind = 'charge' AND run_id = NEW.run_id)
BEGIN
    SELECT RAISE(ABORT, 'a delivery has a charge that stands, and there is one');
END;

CREATE TRIGGER IF NOT EXISTS ledger_entries_delivered BEFORE INSERT ON ledger_entries
WHEN NEW.kind <> 'charge' AND EXISTS (SELECT 1 FROM ledger_deliveries WHERE order_id = NEW.order_id)
BEGIN
    SELECT RAISE(ABORT, 'a coffee that was handed out is not refunded');
END;
