-- The ledger. Amounts are in cents.
--
-- Unlike triggers on INSERT, constraints hold whatever transactions run
-- concurrently. So the rules are constraints:
--   one entry of each kind per order        ledger_entries_pkey
--   a charge or a void, never both          ledger_entries_first
--   a refund has its charge, and equals it  ledger_entries_refund
CREATE TABLE ledger_entries (
    entry_id     BIGINT      GENERATED ALWAYS AS IDENTITY,
    order_id     TEXT        NOT NULL CHECK (order_id <> ''),
    kind         TEXT        NOT NULL CHECK (kind IN ('charge', 'refund', 'void')),
    amount_cents BIGINT      NOT NULL,
    run_id       TEXT        NOT NULL CHECK (run_id <> ''),
    recorded_at  TIMESTAMPTZ NOT NULL,
    gives_back   TEXT        GENERATED ALWAYS AS (CASE kind WHEN 'refund' THEN 'charge' END) STORED,
    CONSTRAINT ledger_entries_pkey PRIMARY KEY (order_id, kind),
    CONSTRAINT ledger_entries_amount CHECK (CASE kind WHEN 'void' THEN amount_cents = 0 ELSE amount_cents > 0 END),
    CONSTRAINT ledger_entries_key UNIQUE (order_id, kind, amount_cents, run_id),
    CONSTRAINT ledger_entries_refund FOREIGN KEY (order_id, gives_back, amount_cents, run_id)
        REFERENCES ledger_entries (order_id, kind, amount_cents, run_id)
);

CREATE UNIQUE INDEX ledger_entries_first ON ledger_entries (order_id) WHERE kind IN ('charge', 'void');

CREATE FUNCTION ledger_entries_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger entries are never changed or deleted';
END
$$;

CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
FOR EACH STATEMENT EXECUTE FUNCTION ledger_entries_refuse();
