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

-- What the code promises, the database enforces as well.
CREATE TRIGGER IF NOT EXISTS ledger_entries_no_update BEFORE UPDATE ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'ledger entries are never changed');
END;

CREATE TRIGGER IF NOT EXISTS ledger_entries_no_delete BEFORE DELETE ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'ledger entries are never deleted');
END;

CREATE TRIGGER IF NOT EXISTS ledger_entries_charge BEFORE INSERT ON ledger_entries
WHEN NEW.kind = 'charge' AND EXISTS (SELECT 1 FROM ledger_entries WHERE order_id = NEW.order_id AND kind <> 'charge')
BEGIN
    SELECT RAISE(ABORT, 'no charge after a refund or a void');
END;

CREATE TRIGGER IF NOT EXISTS ledger_entries_refund BEFORE INSERT ON ledger_entries
WHEN NEW.kind = 'refund' AND NOT EXISTS (
    SELECT 1 FROM ledger_entries
    WHERE order_id = NEW.order_id AND kind = 'charge' AND amount_cents = NEW.amount_cents AND run_id = NEW.run_id)
BEGIN
    SELECT RAISE(ABORT, 'a refund equals its charge');
END;

CREATE TRIGGER IF NOT EXISTS ledger_entries_void BEFORE INSERT ON ledger_entries
WHEN NEW.kind = 'void' AND EXISTS (SELECT 1 FROM ledger_entries WHERE order_id = NEW.order_id AND kind <> 'void')
BEGIN
    SELECT RAISE(ABORT, 'no void after a charge');
END;
