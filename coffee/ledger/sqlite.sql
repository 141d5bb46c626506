-- The ledger. Amounts are in cents, times in UTC, RFC 3339.
CREATE TABLE IF NOT EXISTS ledger_entries (
    order_id     TEXT   NOT NULL CHECK (order_id <> ''),
    kind         TEXT   NOT NULL CHECK (kind IN ('charge', 'refund', 'void')),
    amount_cents BIGINT NOT NULL,
    run_id       TEXT   NOT NULL CHECK (run_id <> ''),
    recorded_at  TEXT   NOT NULL,
    PRIMARY KEY (order_id, kind),
    CHECK (CASE kind WHEN 'void' THEN amount_cents = 0 ELSE amount_cents > 0 END)
);

-- The database itself enforces what the code promises.
CREATE TRIGGER IF NOT EXISTS ledger_entries_no_update BEFORE UPDATE ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'ledger entries are never changed');
END;

CREATE TRIGGER IF NOT EXISTS ledger_entries_no_delete BEFORE DELETE ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'ledger entries are never deleted');
END;

-- The triggers on INSERT also look for the entry itself, because INSERT OR REPLACE
-- deletes rows without firing the trigger on DELETE.
CREATE TRIGGER IF NOT EXISTS ledger_entries_first BEFORE INSERT ON ledger_entries
WHEN NEW.kind IN ('charge', 'void') AND EXISTS (SELECT 1 FROM ledger_entries WHERE order_id = NEW.order_id)
BEGIN
    SELECT RAISE(ABORT, 'a charge or a void is the first entry of its order');
END;

CREATE TRIGGER IF NOT EXISTS ledger_entries_refund BEFORE INSERT ON ledger_entries
WHEN NEW.kind = 'refund' AND (
    EXISTS (SELECT 1 FROM ledger_entries WHERE order_id = NEW.order_id AND kind <> 'charge')
    OR NOT EXISTS (
        SELECT 1 FROM ledger_entries
        WHERE order_id = NEW.order_id AND kind = 'charge' AND amount_cents = NEW.amount_cents AND run_id = NEW.run_id))
BEGIN
    SELECT RAISE(ABORT, 'a refund equals its charge, and there is one');
END;
